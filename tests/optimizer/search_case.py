"""A small search with a stand-in for the training, for the tests of what a search does."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from paper_profiles import PROFILES

from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.network import Genome
from optimizer.partition import Bounds
from optimizer.recipe.recipe import NetworkConfig
from optimizer.recipe.search import SearchConfig
from optimizer.search.genome_cost import Terms, assess
from optimizer.search.individual import Individual
from optimizer.search.record import GenerationRecord
from optimizer.search.search import Problem
from optimizer.search.training import Scores

NETWORK = NetworkConfig((64, 16, 32, 4), (1, 1, 1, 1))
CONFIG = SearchConfig(channels=(1, 2, 3), lengths=(0,), population=24, generations=20, draws=8)


class Quiet:
    """A watcher that keeps what it hears."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self.individuals: list[tuple[int, Individual]] = []
        self.done: list[int] = []
        self.generations: list[GenerationRecord] = []

    def individual(self, generation: int, individual: Individual) -> None:
        """Keep it."""
        self.individuals.append((generation, individual))

    def advance(self, done: int) -> None:
        """Keep it."""
        self.done.append(done)

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

    def evaluate(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Scores]]:
        """Yield the scores, the last network's first."""
        for i in reversed(range(len(candidates))):
            yield i, self.scores(candidates[i].genome)


def score(genome: Genome) -> float:
    """Return something between 0 and 1 that no single gene decides."""
    values = sum(n * c for n, c in zip(genome.lengths, genome.channels, strict=True))
    values += sum(i * k for i, k in enumerate(genome.kernels))
    return 0.5 + 0.4 * math.sin(values / 7) + 0.01 * len(genome.lengths)


def terms(**bounds: float) -> Terms:
    """Return the paper's device and link with bounds, float32 on the wire."""
    return Terms(PROFILES, Bounds(**bounds), "edge_energy", (Encoding.FLOAT32,))


def problem(
    trainer: Trainer,
    config: SearchConfig = CONFIG,
    given: dict[str, Any] | None = None,
    **bounds: float,
) -> Problem:
    """Return the small problem within some bounds."""
    demanded = terms(**bounds)
    return Problem(
        network=NETWORK,
        classes=3,
        config=config,
        assess=lambda genome: assess(genome, demanded),
        evaluate=trainer.evaluate,
        **(given or {}),
    )


def changed(**changes: Any) -> SearchConfig:
    """Return the small search with some keys changed."""
    return msgspec.structs.replace(CONFIG, **changes)
