"""The genetic algorithm against enumeration, and what its operators may never do."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import SearchError
from optimizer.search.chromosomes import Chromosomes, Space
from optimizer.search.evolution import Settings, cross, evolve, mutate, sample

# Three lengths that may be dropped and three channels: 512 individuals.
SMALL = Space((((0, 64), (0, 16), (0, 4)), ((1, 2, 3, 4),) * 3))
SETTINGS = Settings(population=20, generations=25, tournament=3, mutation_ratio=0.15)


def rugged(individual: Chromosomes) -> float:
    """Return an exact fitness with interactions between the genes and across the chromosomes."""
    lengths, channels = individual
    kept = [c for length, c in zip(lengths, channels, strict=True) if length]
    return 3.0 * len(kept) - 0.7 * sum(kept) ** 1.5 + 2.5 * (channels[0] * channels[2] % 5)


def evaluate(generation: Sequence[Chromosomes]) -> list[float]:
    """Return the fitness of a whole generation."""
    return [rugged(individual) for individual in generation]


@pytest.mark.parametrize("seed", range(5))
def test_best_equals_exhaustive_enumeration(seed: int) -> None:
    """On a space small enough to look at every individual."""
    lengths, channels = (itertools.product(*c) for c in SMALL.chromosomes)
    exact = max(rugged(individual) for individual in itertools.product(lengths, channels))
    settings = dataclasses.replace(SETTINGS, generations=60, mutation_ratio=0.25)
    assert exact == evolve(SMALL, evaluate, settings, seed).fitness


def test_same_seed_same_history() -> None:
    """Whatever other draws are made in between; another seed gives another one."""
    one = evolve(SMALL, evaluate, SETTINGS, 7)
    np.random.default_rng().random()
    assert one == evolve(SMALL, evaluate, SETTINGS, 7)
    assert one.generations != evolve(SMALL, evaluate, SETTINGS, 8).generations


def test_whole_generations_are_evaluated_one_after_another() -> None:
    """The first and those bred after it, the elite of each anew in the next."""
    calls: list[Sequence[Chromosomes]] = []

    def recorded(generation: Sequence[Chromosomes]) -> list[float]:
        calls.append(generation)
        return evaluate(generation)

    evolved = evolve(SMALL, recorded, SETTINGS, 1)
    assert [SETTINGS.population] * (SETTINGS.generations + 1) == [len(c) for c in calls]
    for before, after in itertools.pairwise(evolved.generations):
        elite = before.individuals[int(np.argmax(before.fitness))]
        assert elite == after.individuals[0]


def test_evolution_ends_when_it_is_told() -> None:
    """Asked after each generation but the first."""
    answers = iter([False, False, True])
    evolved = evolve(SMALL, evaluate, SETTINGS, 1, stop=lambda: next(answers))
    assert 4 == len(evolved.generations)
    assert evolved.generations == evolve(SMALL, evaluate, SETTINGS, 1).generations[:4]


def test_elite_of_several_passes_unchanged() -> None:
    """The fittest first, equally fit ones in their order."""
    settings = Settings(20, 10, tournament=3, mutation_ratio=0.5, elite=10)
    evolved = evolve(SMALL, evaluate, settings, 1)
    for before, after in itertools.pairwise(evolved.generations):
        order = np.argsort(-np.asarray(before.fitness), kind="stable")[:10]
        assert [before.individuals[i] for i in order] == list(after.individuals[:10])


def test_random_generations_begin_as_an_evolution_does_and_hold_values_of_the_genes() -> None:
    """As many as an evolution has; the same seed, the same draws."""
    known = ((64, 0, 4), (4, 3, 2))
    drawn = list(sample(SMALL, SETTINGS, 3, [known]))
    assert evolve(SMALL, evaluate, SETTINGS, 3, [known]).generations[0].individuals == drawn[0]
    assert [SETTINGS.population] * (SETTINGS.generations + 1) == [len(g) for g in drawn]
    assert drawn == list(sample(SMALL, SETTINGS, 3, [known]))
    genes = {(j, gene) for g in drawn for i in g for j, gene in enumerate(SMALL.encode(i))}
    assert {(j, value) for j, values in enumerate(SMALL.genes) for value in values} == genes


def test_relative_fitness_is_never_stale() -> None:
    """An elite that is worth less in the next generation is told so."""
    seen: list[float] = []

    def falling(generation: Sequence[Chromosomes]) -> list[float]:
        seen.append(-100.0 * len(seen))
        return [seen[-1]] * len(generation)

    evolved = evolve(SMALL, falling, SETTINGS, 1)
    assert [(value,) * SETTINGS.population for value in seen] == [
        g.fitness for g in evolved.generations
    ]


def test_given_individuals_open_the_first_generation() -> None:
    """So a known network is always among those compared."""
    known = ((64, 0, 4), (4, 3, 2))
    assert known == evolve(SMALL, evaluate, SETTINGS, 3, [known]).generations[0].individuals[0]


def test_error_of_the_fitness_passes_through_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """PyGAD logs a traceback to the terminal unless told not to."""

    def broken(generation: Sequence[Chromosomes]) -> list[float]:
        raise SearchError("search", f"{len(generation)} of them")

    with pytest.raises(SearchError, match="20 of them"):
        evolve(SMALL, broken, SETTINGS, 1)
    assert ("", "") == capfd.readouterr()


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 12))
def test_chromosomes_are_crossed_separately(seed: int, parents: int, count: int) -> None:
    """Each child's chromosome is a start of one parent's and the end of its neighbour's."""
    space = Space((((0, 1),) * 4, ((0, 1),) * 3, ((0, 1),)))
    # Every gene names its parent and its place, so a stray one is seen.
    pool = np.arange(parents)[:, None] * 100 + np.arange(8)
    children = cross(pool, count, space.slices, np.random.RandomState(seed))
    for i, child in enumerate(children):
        assert list(range(8)) == (child % 100).tolist()
        for part in space.slices:
            origin = (child[part] // 100).tolist()
            one, other = i % parents, (i + 1) % parents
            changes = [j for j in range(1, len(origin)) if origin[j] != origin[j - 1]]
            assert set(origin) <= {one, other}
            assert len(changes) <= 1
            assert not changes or origin[0] == one


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_mutants_keep_to_the_values_of_their_gene(seed: int, ratio: float) -> None:
    """And a gene with one value never changes."""
    space = Space((((8,), (4, 2)), ((1, 2, 3), (5,))))
    children = np.tile([8, 4, 2, 5], (10, 1))
    mutants = mutate(children, space, ratio, np.random.RandomState(seed))
    assert all(m[j] in space.genes[j] for m in mutants for j in range(4))
    assert [8, 4, 2, 5] == children[0].tolist()


def test_every_gene_mutates_at_full_rate() -> None:
    """A rate of 1 leaves no gene that has another value."""
    space = Space((((4, 2),), ((1, 2, 3),)))
    children = np.tile([4, 2], (50, 1))
    mutants = mutate(children, space, 1.0, np.random.RandomState(1))
    assert not (mutants == children).any()


@given(st.integers(0, 2**32 - 1))
def test_individuals_survive_the_flat_vector(seed: int) -> None:
    """Decoding what was encoded gives it back."""
    rng = np.random.default_rng(seed)
    individual = tuple(tuple(int(rng.choice(g)) for g in c) for c in SMALL.chromosomes)
    assert individual == SMALL.decode(np.asarray(SMALL.encode(individual)))


@pytest.mark.parametrize("chromosomes", [(), ((), ()), (((1,), ()),)])
def test_space_without_values_is_refused(chromosomes: tuple) -> None:
    """There would be nothing to draw."""
    with pytest.raises(ValueError, match="at least one gene"):
        Space(chromosomes)
