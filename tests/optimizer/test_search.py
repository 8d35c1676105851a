"""The search with a stand-in for the training: what is trained, what wins, what is refused."""

import itertools
import math

import msgspec
import pytest

from headtail.errors import SearchError
from headtail.profile import read_device_profile, read_link_profile
from headtail.wire import Encoding
from optimizer.genome_cost import Assessment, Terms, assess
from optimizer.network import Genome
from optimizer.package_points import Profiles
from optimizer.partition import Bounds
from optimizer.recipe import NetworkConfig, SearchConfig
from optimizer.search import (
    ABANDONED,
    GenerationRecord,
    Individual,
    Problem,
    SearchRecord,
    fitness,
    search,
)

NETWORK = NetworkConfig((64, 16, 32, 4), (1, 1, 1, 1))
CONFIG = SearchConfig(channels=(1, 2, 3), lengths=(0,), population=24, generations=20)
PROFILES = Profiles((read_device_profile("stm32l476-paper"),), (read_link_profile("ble-paper"),))


class Quiet:
    """A watcher that keeps what it hears."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self.individuals: list[tuple[int, int, Individual]] = []
        self.generations: list[GenerationRecord] = []

    def individual(self, generation: int, done: int, individual: Individual) -> None:
        """Keep it."""
        self.individuals.append((generation, done, individual))

    def generation(self, record: GenerationRecord) -> None:
        """Keep it."""
        self.generations.append(record)


class Trainer:
    """Scores networks by a formula, and knows which it was given."""

    def __init__(self) -> None:
        """Begin with none."""
        self.trained: list[Genome] = []

    def scores(self, genome: Genome) -> tuple[float, float]:
        """Return an exact score that prefers more channels here and fewer there, twice."""
        self.trained.append(genome)
        return score(genome), score(genome)


def score(genome: Genome) -> float:
    """Return something between 0 and 1 that no single gene decides."""
    values = sum(n * c for n, c in zip(genome.lengths, genome.channels, strict=True))
    return 0.5 + 0.4 * math.sin(values / 7) + 0.01 * len(genome.lengths)


def terms(**bounds: float) -> Terms:
    """Return the paper's device and link with bounds, float32 on the wire."""
    return Terms(PROFILES, Bounds(**bounds), "edge_energy", (Encoding.FLOAT32,))


def problem(trainer: Trainer, config: SearchConfig = CONFIG, **bounds: float) -> Problem:
    """Return the small problem within some bounds."""
    demanded = terms(**bounds)
    return Problem(
        network=NETWORK,
        classes=3,
        config=config,
        assess=lambda genome: assess(genome, demanded),
        train=trainer.scores,
        limit_j=demanded.bounds.edge_j or math.inf,
    )


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
    search(problem(trainer, edge_j=9e-6, flash_bytes=300), 1, watcher)
    assert trainer.trained
    assert all(assess(g, terms(edge_j=9e-6, flash_bytes=300)).is_feasible for g in trainer.trained)
    assert len(trainer.trained) == len(set(trainer.trained))
    assert not any(0 in g.lengths for g in trainer.trained)
    outside = [i for _, _, i in watcher.individuals if not i.assessment.is_feasible]
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
    """The bar ends at population x (generations + 1)."""
    watcher = Quiet()
    search(problem(Trainer()), 1, watcher)
    assert NETWORK.lengths == watcher.individuals[0][2].lengths
    total = CONFIG.population * (CONFIG.generations + 1)
    assert list(range(1, total + 1)) == [done for _, done, _ in watcher.individuals]
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
    config = msgspec.structs.replace(CONFIG, lengths=(0, 24, 48, 8))
    watcher = Quiet()
    search(problem(Trainer(), config), 1, watcher)
    reasons = {i.assessment.reason for _, _, i in watcher.individuals}
    assert any("neither divides" in reason for reason in reasons)


def test_adjusted_fitness_is_the_papers() -> None:
    """P_min 0.6, P_bound 0, E_limit 1, E_max 5: linear from P_min at the limit to P_bound."""

    def individual(edge_j: float | None, score: float | None) -> Individual:
        return Individual((8,), (1,), Assessment(score is not None, edge_j), score, score)

    mixed = [individual(*p) for p in ((0.5, 0.9), (1.0, 0.6), (2.0, None), (5.0, None))]
    mixed.append(individual(None, None))
    assert [0.9, 0.6, pytest.approx(0.45), pytest.approx(0.0), ABANDONED] == fitness(mixed, 1.0)


def test_order_of_energies_is_told_also_without_a_valid_network() -> None:
    """Else the first generations would have no direction."""
    over = [Individual((8,), (1,), Assessment(False, edge_j)) for edge_j in (2.0, 5.0, 3.0, None)]
    values = fitness(over, 1.0)
    assert [0, 2, 1, 3] == [sorted(values, reverse=True).index(v) for v in values]
