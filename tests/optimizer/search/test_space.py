"""What networks the genes make: kernels, inputs, and lengths that go together by construction."""

import dataclasses
import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from search_case import Quiet, Trainer, changed, problem, score, terms

from optimizer.network import Genome
from optimizer.recipe.recipe import NetworkConfig
from optimizer.recipe.search import SearchConfig
from optimizer.search.chromosomes import Chromosomes, Space
from optimizer.search.evolution import Settings, evolve
from optimizer.search.genome_cost import assess
from optimizer.search.length_chain import follow
from optimizer.search.search import search
from optimizer.search.space import NetworkSpace, network_space

# Powers of two and divisors of 192 behind three inputs, of which 187 is divided by neither.
MIXED = NetworkConfig((192, 64, 32, 96, 12), (1, 1, 2, 1, 1), kernels=(1, 2, 1, 1, 3))
WIDE = SearchConfig(
    lengths=(0, 96, 64, 48, 32, 24, 16, 12, 8, 3), channels=(1, 2, 5), kernels=(1, 2, 3)
)
OTHERS = ((2048, 1), (187, 2))


def spoken(space: NetworkSpace, individual: Chromosomes) -> Genome:
    """Return the network of some genes as `Genome` reads them."""
    lengths, channels, kernels, (chosen,) = individual
    length, count = space.inputs[chosen]
    values = (space.kernels[i][gene] for i, gene in enumerate(kernels))
    return Genome((length, *lengths), (count, *channels), 3, (1, *values)).phenotype


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 4))
def test_every_individual_bred_is_a_network(seed: int, mutation: float, draws: int) -> None:
    """Whatever is crossed and mutated; each is written as its phenotype is."""
    space = network_space(MIXED, WIDE, OTHERS, lambda i: len(i.lengths) > 2)
    rng = np.random.default_rng(seed)

    def worth(generation: Sequence[Chromosomes]) -> list[float]:
        return rng.random(len(generation)).tolist()

    evolved = evolve(space, worth, Settings(12, 5, 2, mutation, draws=draws), seed, [space.own])
    for individual in itertools.chain.from_iterable(g.individuals for g in evolved.generations):
        made = space.individual(individual)
        assert spoken(space, individual) == made.genome(3)
        for genes, values in zip(individual, space.chromosomes, strict=True):
            assert all(gene in value for gene, value in zip(genes, values, strict=True))


def test_plain_way_draws_every_value_of_a_gene_by_itself() -> None:
    """As the paper does; most such networks are none."""
    config = msgspec.structs.replace(WIDE, repair=False)
    plain, ours = network_space(MIXED, config, OTHERS), network_space(MIXED, WIDE, OTHERS)
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    drawn = [plain.draw(one.random) for _ in range(200)]
    assert drawn == [Space(plain.chromosomes).draw(other.random) for _ in range(200)]
    valid = [follow(plain.inputs[d[-1][0]][0], d[0]) for d in drawn]
    assert sum(valid) < 60
    assert all(plain.repair(d, one.random) == d for d in drawn)
    repaired = [ours.repair(d, one.random) for d in drawn]
    assert [r[1:3] for r in repaired] == [d[1:3] for d in drawn]
    assert [r == d for r, d in zip(repaired, drawn, strict=True)] == valid


def test_input_that_no_lengths_go_with_is_not_drawn() -> None:
    """187 has no such neighbour here, and no layer may be left out."""
    config = SearchConfig(lengths=(96, 64))
    network = NetworkConfig((192, 48, 24), (1, 1, 1))
    space, rng = network_space(network, config, ((187, 1), (1024, 1))), np.random.default_rng(1)
    drawn = {space.draw(rng.random)[-1][0] for _ in range(60)}
    assert {0, 2} == drawn
    assert {space.repair((*space.own[:-1], (1,)), rng.random)[-1][0] for _ in range(60)} == drawn


def test_genes_that_never_go_together_are_left_as_they_are() -> None:
    """Such networks are out of bounds, as the paper's are."""
    network = NetworkConfig((64, 16), (1, 1))
    space = network_space(network, SearchConfig(), ((187, 1),))
    other = dataclasses.replace(space, inputs=((187, 1), (187, 2)))
    assert ((16,), (3,), (1,)) == other.repair(((16,), (3,), (1,)), np.random.random)
    assert (16,) == other.draw(np.random.default_rng(1).random)[0]


def test_kernels_are_a_chromosome_of_their_own() -> None:
    """With three multiples of each stride the search finds what enumeration finds."""
    genomes: dict[Genome, None] = {}
    for kept in itertools.product((0, 1), repeat=3):
        lengths = (64, *(n * k for n, k in zip((16, 32, 4), kept, strict=True)))
        for channels in itertools.product((1, 2), repeat=3):
            for kernels in itertools.product((1, 3, 5), repeat=3):
                genomes[Genome(lengths, (1, *channels), 3, (1, *kernels)).phenotype] = None
    bounds = {"edge_j": 20e-6}
    feasible = [g for g in genomes if assess(g, terms(**bounds)).is_feasible]
    config = changed(channels=(1, 2), kernels=(1, 3, 5), population=30)
    trainer = Trainer()
    found = search(problem(trainer, config, **bounds), 2, Quiet())
    assert max(score(g) for g in feasible) == found.finalists[0].score
    assert any(i.kernels for i in found.finalists)
    assert found.winner.kernels == found.network.kernels
    assert len(trainer.trained) == len(set(trainer.trained))
    assert set(trainer.trained) <= set(feasible)


def test_kernels_that_are_not_searched_stay() -> None:
    """The network's own are kept by every layer that is there and does not grow."""
    network = NetworkConfig((64, 16, 32, 4), (1, 1, 1, 1), kernels=(1, 3, 5, 1))
    watcher = Quiet()
    search(dataclasses.replace(problem(Trainer()), network=network), 1, watcher)
    for _, i in watcher.individuals:
        assert (3 in i.kernels) == (16 in i.lengths)
        assert (5 in i.kernels) == (32 in i.lengths and 16 not in i.lengths)


def test_input_is_chosen_with_the_network() -> None:
    """What is trained says which; its energy is that of its own raw windows."""
    others = ((32, 2), (128, 1))
    trained: list[tuple[int, Genome]] = []

    class Chooser(Trainer):
        def evaluate(self, candidates):
            trained.extend((c.input, c.genome) for c in candidates)
            yield from super().evaluate(candidates)

    watcher = Quiet()
    asked = dataclasses.replace(problem(Chooser()), inputs=others)
    found = search(asked, 1, watcher)
    shapes = ((64, 1), *others)
    assert {0, 1, 2} == {i for i, _ in trained}
    assert all((g.lengths[0], g.channels[0]) == shapes[i] for i, g in trained)
    assert len(trained) == len(set(trained))
    raw = [i for _, i in watcher.individuals if len(i.lengths) == 1]
    assert {i.input: i.assessment.edge_j for i in raw}.keys() == {0, 1, 2}
    assert len({i.key for i in raw}) == len(raw) == 3
    assert found.network.lengths[0] == shapes[found.winner.input][0]
    assert ("input" in str(found)) == (found.winner.input > 0)
    assert found == search(asked, 1, Quiet())


def test_search_over_inputs_equals_enumeration() -> None:
    """Every list of genes behind every input."""
    inputs = ((64, 1), (48, 1))
    best = []
    for (first, count), lengths in itertools.product(
        inputs, itertools.product((16, 24, 0), (32, 24, 0), (4, 24, 0))
    ):
        if not follow(first, lengths):
            continue
        for channels in itertools.product((1, 2, 3), repeat=3):
            genome = Genome((first, *lengths), (count, *channels), 3).phenotype
            if assess(genome, terms(edge_j=15e-6)).is_feasible:
                best.append(score(genome))
    config = changed(lengths=(24, 0))
    asked = dataclasses.replace(problem(Trainer(), config, edge_j=15e-6), inputs=inputs[1:])
    assert max(best) == search(asked, 4, Quiet()).winner.score


def test_first_generation_under_a_tight_bound_is_mostly_within_it() -> None:
    """One random network in fifty is; 64 are drawn for a place."""
    network = NetworkConfig((2048, 512, 128, 64, 32), (1, 1, 1, 1, 1))
    lengths = (1024, 512, 256, 128, 64, 32, 16, 8, 4, 0)
    feasible = {}
    for draws in (1, 16, 64):
        config = changed(
            lengths=lengths, channels=(1, 2, 3, 4), population=50, generations=1, draws=draws
        )
        watcher = Quiet()
        asked = problem(Trainer(), config, edge_j=0.065e-3)
        search(dataclasses.replace(asked, network=network), 1, watcher)
        feasible[draws] = [g.feasible for g in watcher.generations]
    assert feasible[1][0] < 4
    assert 4 < feasible[16][0] < feasible[64][0]
    assert feasible[64][0] > 20
    assert feasible[64][1] > 40
