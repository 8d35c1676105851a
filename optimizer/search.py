"""The search for the hidden layers of a network that does best within the bounds.

Costs first: a network that breaks a bound at every partition point is never trained. Source of the
two chromosomes, the order of the checks and the adjusted fitness: energy-aware NAS with
partitioning, Sec. III-B.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from headtail.errors import SearchError
from optimizer.evolution import Chromosomes, Settings, Space, evolve
from optimizer.genome_cost import Assessment
from optimizer.network import Genome
from optimizer.recipe import NetworkConfig, SearchConfig

LEAST_SCORE = 0.0  # of accuracy and macro-F1 alike: the paper's P_bound
ABANDONED = -2.0  # below every adjusted fitness, which is at least LEAST_SCORE - 1


class Individual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One network, its zero-length layers left out, with all that was measured of it."""

    lengths: tuple[int, ...]
    channels: tuple[int, ...]
    assessment: Assessment
    score: float | None = None
    """On the half of the validation split that steers the search; None if never trained."""
    final_score: float | None = None
    """On the other half, which decides among the finalists."""


class GenerationRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One generation in figures."""

    generation: int
    best: float | None
    """Best score in it; None where no network is feasible."""
    mean: float | None
    feasible: int
    """Networks within the bounds, repeated ones counted."""
    trained: int
    """Networks trained so far in the whole search."""
    known: int
    """Different networks seen so far in the whole search."""


class SearchRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `search.json`: what was found, and how."""

    winner: Individual
    finalists: tuple[Individual, ...]
    generations: tuple[GenerationRecord, ...]

    @property
    def network(self) -> NetworkConfig:
        """The network to train."""
        return NetworkConfig(self.winner.lengths, self.winner.channels)

    def __str__(self) -> str:
        last = self.generations[-1]
        return (
            f"lengths {list(self.winner.lengths)}, channels {list(self.winner.channels)}: scores"
            f" {self.winner.score or 0:.3f} and {self.winner.final_score or 0:.3f} on the halves of"
            f" the validation split; {last.trained} of {last.known} networks trained"
        )


class Watcher(Protocol):
    """Who is told how a search goes."""

    def individual(self, generation: int, done: int, individual: Individual) -> None:
        """Hear of the `done`-th individual of the search; the same network may come again."""

    def generation(self, record: GenerationRecord) -> None:
        """Hear of a finished generation."""


NetworkKey = tuple[tuple[int, int], ...]
"""Length and channels of every map that is there: equal networks have equal ones."""
Train = Callable[[Genome], tuple[float, float]]
"""Trains a network briefly; returns its scores on the two halves of the validation split."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is searched, and how a network is judged."""

    network: NetworkConfig
    classes: int
    config: SearchConfig
    assess: Callable[[Genome], Assessment]
    train: Train
    limit_j: float = float("inf")
    """Bound on the edge energy, as `assess` knows it."""


def search(problem: Problem, seed: int, watcher: Watcher) -> SearchRecord:
    """Return the best network found and the history of the search; the same for the same seed.

    Raises:
        SearchError: If no network seen is within the bounds; nothing has been trained then.
    """
    config = problem.config
    evaluator = _Evaluator(problem, watcher)
    settings = Settings(config.population, config.generations, config.tournament, config.mutation)
    hidden = tuple(problem.network.lengths[1:]), tuple(problem.network.channels[1:])
    evolve(space(problem.network, config), evaluator.evaluate, settings, seed, [hidden])
    finalists = _finalists(list(evaluator.known.values()), config.finalists)
    winner = max(finalists, key=lambda i: i.final_score or LEAST_SCORE)
    return SearchRecord(winner, finalists, tuple(evaluator.records))


def space(network: NetworkConfig, config: SearchConfig) -> Space:
    """Return the values of every gene: the lengths of the hidden maps, then their channels."""
    return Space(
        (
            tuple(tuple(dict.fromkeys((n, *config.lengths))) for n in network.lengths[1:]),
            tuple(tuple(dict.fromkeys((n, *config.channels))) for n in network.channels[1:]),
        )
    )


def fitness(individuals: Sequence[Individual], limit_j: float) -> list[float]:
    """Return the fitness of a generation: scores, and below all of them what breaks the bounds.

    A network that only sends or computes too much has P_min - (P_min - P_bound) / (E_max - E_limit)
    x (E - E_limit), with E its energy, E_max the largest of these and P_min the least score of the
    valid networks, both of this generation. Any other that breaks bounds is worth least of all.

    Args:
        individuals: All of one generation.
        limit_j: The bound on the edge energy; infinite where there is none.

    Source: energy-aware NAS with partitioning, Sec. III-B3.
    """
    least = min((i.score for i in individuals if i.score is not None), default=LEAST_SCORE)
    # Without room below the valid ones, or without any, the order must still be told.
    bound = LEAST_SCORE if least > LEAST_SCORE else LEAST_SCORE - 1
    over = [i.assessment.edge_j for i in individuals if not i.assessment.is_feasible]
    most_j = max((edge_j for edge_j in over if edge_j is not None), default=limit_j)
    values = []
    for individual in individuals:
        edge_j = individual.assessment.edge_j
        if individual.score is not None:
            values.append(individual.score)
        elif edge_j is None:
            values.append(ABANDONED)
        else:
            values.append(least - (least - bound) / (most_j - limit_j) * (edge_j - limit_j))
    return values


class _Evaluator:
    """Measures every network once; knows all that were seen."""

    def __init__(self, problem: Problem, watcher: Watcher) -> None:
        self.problem = problem
        self.watcher = watcher
        self.known: dict[NetworkKey, Individual] = {}
        self.records: list[GenerationRecord] = []

    def evaluate(self, generation: Sequence[Chromosomes]) -> list[float]:
        """Return the fitness of a generation; called for one after another."""
        done = len(self.records) * self.problem.config.population
        individuals = [self._measured(c, done + i) for i, c in enumerate(generation, start=1)]
        scores = [i.score for i in individuals if i.score is not None]
        record = GenerationRecord(
            generation=len(self.records),
            best=max(scores, default=None),
            mean=sum(scores) / len(scores) if scores else None,
            feasible=len(scores),
            trained=sum(i.score is not None for i in self.known.values()),
            known=len(self.known),
        )
        self.records.append(record)
        self.watcher.generation(record)
        return fitness(individuals, self.problem.limit_j)

    def _measured(self, chromosomes: Chromosomes, done: int) -> Individual:
        network = self.problem.network
        lengths, channels = chromosomes
        maps = [(network.lengths[0], network.channels[0]), *zip(lengths, channels, strict=True)]
        kept = tuple((length, count) for length, count in maps if length)
        if kept not in self.known:
            self.known[kept] = self._measure(kept)
        self.watcher.individual(len(self.records), done, self.known[kept])
        return self.known[kept]

    def _measure(self, kept: NetworkKey) -> Individual:
        lengths, channels = tuple(n for n, _ in kept), tuple(c for _, c in kept)
        try:
            genome = Genome(lengths, channels, self.problem.classes)
        except ValueError as error:  # lengths that do not divide one another
            return Individual(lengths, channels, Assessment(False, reason=str(error)))
        assessment = self.problem.assess(genome)
        if not assessment.is_feasible:
            return Individual(lengths, channels, assessment)
        return Individual(lengths, channels, assessment, *self.problem.train(genome))


def _finalists(individuals: Sequence[Individual], count: int) -> tuple[Individual, ...]:
    """Return the best in the search; of equal ones the cheaper first.

    Raises:
        SearchError: If none is feasible; names the nearest miss in energy.
    """
    valid = [i for i in individuals if i.score is not None]
    if not valid:
        nearest = min(individuals, key=_edge_j)
        raise SearchError(
            "search",
            f"none of the {len(individuals)} networks tried is within the bounds; nearest is"
            f" lengths {list(nearest.lengths)}, channels {list(nearest.channels)}:"
            f" {nearest.assessment.reason}",
        )
    ranked = sorted(valid, key=lambda i: (-(i.score or 0), _edge_j(i), i.lengths, i.channels))
    return tuple(ranked[:count])


def _edge_j(individual: Individual) -> float:
    edge_j = individual.assessment.edge_j
    return float("inf") if edge_j is None else edge_j
