"""The search with a stand-in for the training: what is trained, what wins, what is refused."""

import dataclasses
import itertools
import tracemalloc
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pytest
from search_case import CONFIG, NETWORK, Quiet, Trainer, changed, problem, score, terms

from headtail.errors import SearchError
from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.network import Genome
from optimizer.recipe.recipe import NetworkConfig
from optimizer.recipe.search import SearchConfig
from optimizer.search.genome_cost import assess
from optimizer.search.individual import Assessment, Individual
from optimizer.search.pareto import nondominated
from optimizer.search.record import SearchRecord
from optimizer.search.search import search
from optimizer.search.training import Scores


def every_genome() -> list[Genome]:
    """Return all networks of the small space whose lengths divide one another."""
    genomes = {}
    for kept in itertools.product((0, 1), repeat=3):
        lengths = (64, *(n * k for n, k in zip((16, 32, 4), kept, strict=True)))
        for channels in itertools.product((1, 2, 3), repeat=3):
            genome = Genome(lengths, (1, *channels), 3).phenotype
            genomes[genome] = genome
    return list(genomes)


@pytest.mark.parametrize("bounds", [{}, {"edge_j": 15e-6}, {"edge_j": 9e-6, "flash_bytes": 300}])
def test_winner_is_that_of_exhaustive_enumeration(bounds: dict[str, float]) -> None:
    """The bounds rule out some networks, those left are compared by score."""
    feasible = [g for g in every_genome() if assess(g, terms(**bounds)).is_feasible]
    best = max(score(g) for g in feasible)
    found = search(problem(Trainer(), **bounds), 3, Quiet())
    assert best == found.winner.score
    winner = found.network.genome(3)
    assert assess(winner, terms(**bounds)) == found.winner.assessment


def test_networks_outside_the_bounds_are_never_trained_and_none_twice() -> None:
    """Costs come first; equal networks are one."""
    trainer, watcher = Trainer(), Quiet()
    search(problem(trainer, changed(draws=1), edge_j=9e-6, flash_bytes=300), 1, watcher)
    assert trainer.trained
    assert all(assess(g, terms(edge_j=9e-6, flash_bytes=300)).is_feasible for g in trainer.trained)
    assert len(trainer.trained) == len(set(trainer.trained))
    assert not any(0 in g.lengths for g in trainer.trained)
    outside = [i for _, i in watcher.individuals if not i.assessment.is_feasible]
    assert outside
    assert all(i.score is None and i.assessment.reason for i in outside)


def test_same_seed_same_record() -> None:
    """Another seed takes another way."""
    one, again, other = (search(problem(Trainer()), seed, Quiet()) for seed in (5, 5, 6))
    assert one == again
    assert one.generations != other.generations


def test_record_survives_its_file() -> None:
    """The file search.json gives back what was found."""
    found = search(problem(Trainer()), 5, Quiet())
    assert found == msgspec.json.decode(msgspec.json.encode(found), type=SearchRecord)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"edge_j": 1e-9}, r"none of the \d+ networks .* nearest is .* point \d .*edge_j .* over"),
        ({"ram_bytes": 8}, r"none of the \d+ networks .* nearest is .*ram_bytes"),
    ],
)
def test_empty_feasible_set_ends_before_any_training(
    bounds: dict[str, float], message: str
) -> None:
    """With the nearest miss."""
    trainer = Trainer()
    with pytest.raises(SearchError, match=message):
        search(problem(trainer, **bounds), 1, Quiet())
    assert [] == trainer.trained


def test_given_network_is_compared_and_progress_counts_every_individual() -> None:
    """The bar ends at population x (generations + 1); every network is told once."""
    watcher = Quiet()
    search(problem(Trainer()), 1, watcher)
    assert NETWORK.lengths in {i.lengths for g, i in watcher.individuals if g == 0}
    total = CONFIG.population * (CONFIG.generations + 1)
    assert total == watcher.done[-1]
    assert sorted(watcher.done) == watcher.done
    keys = [i.key for _, i in watcher.individuals]
    assert len(keys) == len(set(keys)) == watcher.generations[-1].known
    assert list(range(CONFIG.generations + 1)) == [g.generation for g in watcher.generations]


def test_other_half_decides_among_the_finalists() -> None:
    """Not the best on the half that steered."""

    class Contrary(Trainer):
        def scores(self, genome: Genome) -> tuple[float, float]:
            steering, _ = super().scores(genome)
            return steering, 1 - steering

    found = search(problem(Contrary()), 1, Quiet())
    assert CONFIG.finalists == len(found.finalists)
    assert found.winner == found.finalists[-1]
    assert found.winner.score < found.finalists[0].score


def test_lengths_that_do_not_divide_are_abandoned() -> None:
    """A wider space holds lengths with no kernel = stride between them."""
    config = changed(lengths=(0, 24, 48, 8), repair=False, draws=1)
    watcher = Quiet()
    search(problem(Trainer(), config), 1, watcher)
    reasons = {i.assessment.reason for _, i in watcher.individuals}
    assert any("neither divides" in reason for reason in reasons)


GOALS = ("accuracy", "edge_energy", "parameters")


@pytest.mark.parametrize("bounds", [{}, {"edge_j": 15e-6}])
def test_front_of_a_small_space_is_that_of_exhaustive_enumeration(bounds: dict[str, float]) -> None:
    """Every network on it and no other, hard bounds kept."""
    assessed = [(g, assess(g, terms(**bounds))) for g in every_genome()]
    feasible = [
        Individual(g.lengths, g.channels, a, score(g), score(g))
        for g, a in assessed
        if a.is_feasible
    ]
    aims = np.array([i.aims(GOALS) for i in feasible])
    exact = {tuple(aims[i]) for i in nondominated(aims)}
    config = changed(objectives=GOALS, population=40, generations=40, mutation=0.3)
    found = search(problem(Trainer(), config, {"goals": GOALS}, **bounds), 3, Quiet())
    assert exact == {i.aims(GOALS) for i in found.front}
    volumes = [g.hypervolume for g in found.generations]
    assert sorted(volumes) == volumes
    assert {g.reference for g in found.generations} == {found.generations[0].reference}
    assert len(found.front) == found.generations[-1].front


def test_search_ends_when_nothing_gets_better() -> None:
    """The last generations are those that were waited for, none of them better."""
    for goals in (("accuracy",), GOALS):
        config = changed(patience=3, objectives=goals, mutation=0.05)
        found = search(problem(Trainer(), config, {"goals": GOALS}), 1, Quiet())
        is_single = len(goals) == 1
        reached = [g.best if is_single else g.hypervolume for g in found.generations]
        assert len(reached) < CONFIG.generations + 1
        waited = [max(reached[: i + 1]) for i in range(len(reached))]
        assert 4 == waited.count(waited[-1])


def test_scores_of_an_interrupted_search_are_not_measured_again() -> None:
    """Whatever of them there is, the record is that of the search without interruption."""
    watcher = Quiet()
    whole = search(problem(Trainer()), 5, watcher)
    trained = [i for _, i in watcher.individuals if i.score is not None]
    for count in (0, 1, len(trained) // 2, len(trained)):
        restored = {(i.key, 0): (i.score, i.final_score) for i in trained[:count]}
        trainer = Trainer()
        assert whole == search(problem(trainer, given={"restored": restored}), 5, Quiet())
        assert len(trained) - count == len(trainer.trained)


def test_random_search_measures_as_many_and_selects_none() -> None:
    """Its later generations are no better than its first ones on the whole."""
    config = changed(method="random", draws=1)
    found = search(problem(Trainer(), config), 1, Quiet())
    assert CONFIG.generations + 1 == len(found.generations)
    assert found.generations[-1].best < found.winner.score
    assert found == search(problem(Trainer(), config), 1, Quiet())


@pytest.mark.parametrize("method", ["parameters", "flops"])
def test_zero_shot_trains_its_finalists_alone(method: str) -> None:
    """And finds the largest networks within the bounds."""
    trainer = Trainer()
    found = search(problem(trainer, changed(method=method), edge_j=15e-6), 3, Quiet())
    assert CONFIG.finalists == len(trainer.trained)

    def size(genome: Genome) -> int:
        counts = genome.footprints()[-1].operations
        return counts.parameters if method == "parameters" else 2 * counts.macs

    feasible = [g for g in every_genome() if assess(g, terms(edge_j=15e-6)).is_feasible]
    largest = max(size(g) for g in feasible)
    assert largest == max(i.proxy for i in found.finalists)
    assert found.winner.score == score(found.network.genome(3))
    assert found.front


def test_partition_after_the_search_reassesses_what_was_found() -> None:
    """Searched with everything on the edge, then cut at the best point."""
    whole = dataclasses.replace(terms(), is_partitioned=False)
    asked = dataclasses.replace(
        problem(Trainer(), changed(method="partition_after")),
        assess=lambda genome: assess(genome, whole),
        reassess=lambda genome: assess(genome, terms()),
    )
    found = search(asked, 1, Quiet())
    winner = found.network.genome(3)
    assert assess(winner, terms()) == found.winner.assessment
    assert found.winner.assessment.edge_j < assess(winner, whole).edge_j


def test_memory_for_each_individual_is_small() -> None:
    """Over 1,000 individuals; nothing that was trained is kept."""
    network = NetworkConfig((1024, 512, 256, 128, 64), (1, 1, 1, 1, 1))
    config = SearchConfig(
        channels=(1, 2, 3, 4), lengths=(0, 32, 16, 8), population=70, generations=17, mutation=0.6
    )
    base = problem(Trainer(), config)
    weights = [np.zeros(100_000)]

    def evaluate(candidates: Sequence[Candidate]) -> Iterator[tuple[int, Scores]]:
        for i, genome in enumerate(c.genome for c in candidates):
            weights[0] = np.full(100_000, score(genome))  # 800 kB, as a trained network might be
            yield i, (score(genome), float(weights[0][0]))

    class Forgetful(Quiet):
        def individual(self, generation: int, individual: Individual) -> None:
            """Keep nothing."""

    def assess_at_once(genome: Genome) -> Assessment:
        edge_j = 1e-6 * len(genome.lengths)
        return Assessment(True, edge_j, point=0, encoding=Encoding.FLOAT32)

    asked = dataclasses.replace(base, network=network, evaluate=evaluate, assess=assess_at_once)
    tracemalloc.start()
    found = search(asked, 1, Forgetful())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    known = found.generations[-1].known
    assert known > 1000
    assert peak < 4096 * known + 4e6
