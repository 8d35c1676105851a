"""The search for the hidden layers of a network that does best within the bounds.

Costs first: a network that breaks a bound at every partition point is never trained. The point and
its encoding are no genes: all are enumerated for every network, from sending the raw window to
running everything on the edge, so the best is always exact. Source of the chromosomes, the order
of the checks and the adjusted fitness: energy-aware NAS with partitioning, Sec. III-B.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from headtail.errors import SearchError
from optimizer.archive import Archive
from optimizer.evolution import Chromosomes, Settings, Space, evolve, sample
from optimizer.individual import Assessment, Candidate, Goal, Individual, NetworkKey
from optimizer.network import Genome
from optimizer.recipe import ZERO_SHOT, NetworkConfig, SearchConfig
from optimizer.search_fitness import LEAST_SCORE, fitness

Scores = tuple[float, float]
"""Of one network on the two halves of the validation split."""
Evaluate = Callable[[Sequence[Candidate]], Iterable[tuple[int, Scores]]]
"""Trains networks briefly; yields each one's index and scores, in any order."""


class GenerationRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One generation in figures."""

    generation: int
    best: float | None
    """Best score in it, or what stands for the score; None where no network is feasible."""
    mean: float | None
    feasible: int
    """Networks within the bounds, repeated ones counted."""
    trained: int
    """Networks trained so far in the whole search."""
    known: int
    """Different networks seen so far in the whole search."""
    front: int = 0
    """Networks on the front of the whole search so far."""
    hypervolume: float = 0.0
    """The part of the box from zero to `reference` that the front dominates."""
    reference: tuple[float, ...] | None = None
    """Its corner, in the units of the goals, the error rate in place of the accuracy."""


class SearchRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `search.json`: what was found, and how."""

    winner: Individual
    finalists: tuple[Individual, ...]
    generations: tuple[GenerationRecord, ...]
    front: tuple[Individual, ...] = ()
    """The networks that no other surpasses in every one of `goals`."""
    goals: tuple[Goal, ...] = ("accuracy",)

    @property
    def network(self) -> NetworkConfig:
        """The network to train."""
        return NetworkConfig(self.winner.lengths, self.winner.channels)

    def __str__(self) -> str:
        last = self.generations[-1]
        return (
            f"lengths {list(self.winner.lengths)}, channels {list(self.winner.channels)}: scores"
            f" {self.winner.score or 0:.3f} and {self.winner.final_score or 0:.3f} on the halves of"
            f" the validation split; {last.trained} of {last.known} networks trained, {last.front}"
            " on the front"
        )


class Watcher(Protocol):
    """Who is told how a search goes."""

    def individual(self, generation: int, individual: Individual) -> None:
        """Hear of a network when all is known of it, in the order in which that happens."""

    def advance(self, done: int) -> None:
        """Hear how many individuals of all generations are done, repeated ones counted."""

    def generation(self, record: GenerationRecord) -> None:
        """Hear of a finished generation."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is searched, and how a network is judged."""

    network: NetworkConfig
    classes: int
    config: SearchConfig
    assess: Callable[[Genome], Assessment]
    evaluate: Evaluate
    goals: tuple[Goal, ...] = ("accuracy",)
    """What the front is about; the search itself aims at what `config` says."""
    limits: Mapping[Goal, float | None] = field(default_factory=dict)
    """Bounds on the goals, where there are any."""
    restored: Mapping[NetworkKey, Scores] = field(default_factory=dict)
    """Scores from an interrupted search of the same recipe and seed."""
    reassess: Callable[[Genome], Assessment] | None = None
    """What is asked about the networks found, where that differs from `assess`."""


def search(problem: Problem, seed: int, watcher: Watcher) -> SearchRecord:
    """Return the best network found and the history of the search; the same for the same seed.

    Raises:
        SearchError: If no network seen is within the bounds; nothing has been trained then.
    """
    config = problem.config
    state = _Search(problem, watcher)
    elite = 1 if len(config.objectives) == 1 else config.population // 2
    settings = Settings(
        config.population, config.generations, config.tournament, config.mutation, elite
    )
    genes, first = space(problem.network, config), [_own(problem.network)]
    if config.method == "random":
        for generation in sample(genes, settings, seed, first):
            state.evaluate(generation)
            if state.is_stalled():
                break
    else:
        evolve(genes, state.evaluate, settings, seed, first, state.is_stalled)
    return state.finish()


def space(network: NetworkConfig, config: SearchConfig) -> Space:
    """Return the values of every gene: the lengths of the hidden maps, then their channels."""
    return Space(
        (
            tuple(tuple(dict.fromkeys((n, *config.lengths))) for n in network.lengths[1:]),
            tuple(tuple(dict.fromkeys((n, *config.channels))) for n in network.channels[1:]),
        )
    )


def _own(network: NetworkConfig) -> Chromosomes:
    return tuple(network.lengths[1:]), tuple(network.channels[1:])


class _Search:
    """Measures every network once; knows all that were seen."""

    def __init__(self, problem: Problem, watcher: Watcher) -> None:
        self.problem = problem
        self.config = problem.config
        self.watcher = watcher
        self.archive = Archive(problem.goals, problem.limits)
        self.records: list[GenerationRecord] = []
        self.best = float("-inf")  # of what the search makes larger, so far
        self.stalled = 0  # generations since then

    def evaluate(self, generation: Sequence[Chromosomes]) -> list[float]:
        """Return the fitness of a generation; called for one after another."""
        blanks = [self._blank(chromosomes) for chromosomes in generation]
        fresh = {i.key: i for i in blanks if i.key not in self.archive.known}
        done = len(self.records) * self.config.population + len(blanks) - len(fresh)
        self.archive.add(self._measure(list(fresh.values()), done))
        individuals = [self.archive.known[i.key] for i in blanks]
        self._record(individuals)
        return fitness(individuals, self.config.objectives)

    def is_stalled(self) -> bool:
        """Return whether nothing has become better for as many generations as are waited for."""
        return 0 < self.config.patience <= self.stalled

    def finish(self) -> SearchRecord:
        """Return what was found.

        Raises:
            SearchError: If no network is feasible.
        """
        finalists = _best(list(self.archive.known.values()), self.config.finalists)
        untrained = [i for i in finalists if i.score is None]
        if untrained:
            self.archive.add(self._train(untrained, 0))
            finalists = tuple(self.archive.known[i.key] for i in finalists)
        front = self.archive.front
        reassess = self.problem.reassess
        if reassess is not None:
            finalists, front = (
                tuple(
                    msgspec.structs.replace(i, assessment=reassess(i.genome(self.problem.classes)))
                    for i in individuals
                )
                for individuals in (finalists, front)
            )
        winner = max(finalists, key=lambda i: i.final_score or LEAST_SCORE)
        return SearchRecord(winner, finalists, tuple(self.records), front, self.problem.goals)

    def _blank(self, chromosomes: Chromosomes) -> Individual:
        network = self.problem.network
        lengths, channels = chromosomes
        maps = [(network.lengths[0], network.channels[0]), *zip(lengths, channels, strict=True)]
        kept = [m for m in maps if m[0]]
        return Individual(tuple(m[0] for m in kept), tuple(m[1] for m in kept), Assessment(False))

    def _measure(self, fresh: Sequence[Individual], done: int) -> list[Individual]:
        """Return the networks assessed and, where they are feasible and it is asked, trained."""
        assessed = [self._assess(individual) for individual in fresh]
        is_trained = self.config.method not in ZERO_SHOT
        waiting = [i for i in assessed if is_trained and i.assessment.is_feasible]
        ready = [i for i in assessed if not (is_trained and i.assessment.is_feasible)]
        for individual in ready:
            self.watcher.individual(len(self.records), individual)
        self.watcher.advance(done + len(ready))
        trained = {i.key: i for i in self._train(waiting, done + len(ready))}
        return [trained.get(i.key, i) for i in assessed]

    def _assess(self, individual: Individual) -> Individual:
        try:
            genome = individual.genome(self.problem.classes)
        except ValueError as error:  # lengths that do not divide one another
            assessment = Assessment(False, reason=str(error))
            return msgspec.structs.replace(individual, assessment=assessment)
        assessment = self.problem.assess(genome)
        proxy = None
        if assessment.is_feasible and self.config.method in ZERO_SHOT:
            proxy = _proxy(genome, self.config.method)
        return msgspec.structs.replace(individual, assessment=assessment, proxy=proxy)

    def _train(self, waiting: Sequence[Individual], done: int) -> list[Individual]:
        """Return the networks with their scores, which are told as they come."""
        generation = max(0, min(len(self.records), self.config.generations))
        trained: dict[NetworkKey, Individual] = {}

        def take(individual: Individual, scores: Scores) -> None:
            score, final = scores
            whole = msgspec.structs.replace(individual, score=score, final_score=final)
            trained[individual.key] = whole
            self.watcher.individual(generation, whole)
            self.watcher.advance(done + len(trained))

        missing = []
        for individual in waiting:
            scores = self.problem.restored.get(individual.key)
            if scores is None:
                missing.append(individual)
            else:
                take(individual, scores)
        candidates = [i.candidate(self.problem.classes) for i in missing]
        for index, scores in self.problem.evaluate(candidates) if candidates else ():
            take(missing[index], scores)
        return [trained[i.key] for i in waiting]

    def _record(self, individuals: Sequence[Individual]) -> None:
        steering = [i.steering for i in individuals]
        values = [value for value in steering if value is not None]
        record = GenerationRecord(
            generation=len(self.records),
            best=max(values, default=None),
            mean=sum(values) / len(values) if values else None,
            feasible=len(values),
            trained=len(self.archive.trained),
            known=len(self.archive.known),
            front=len(self.archive.front),
            hypervolume=self.archive.volume,
            reference=self.archive.reference,
        )
        is_single = len(self.config.objectives) == 1
        reached = max(values, default=self.best) if is_single else self.archive.volume
        self.stalled = 0 if reached > self.best else self.stalled + 1
        self.best = max(self.best, reached)
        self.records.append(record)
        self.watcher.generation(record)


def _proxy(genome: Genome, method: str) -> float:
    operations = genome.footprints()[-1].operations
    return float(operations.parameters if method == "parameters" else 2 * operations.macs)


def _best(individuals: Sequence[Individual], count: int) -> tuple[Individual, ...]:
    """Return the best in the search; of equal ones the cheaper first.

    Raises:
        SearchError: If none is feasible; names the nearest miss in energy.
    """
    valid = [i for i in individuals if i.steering is not None]
    if not valid:
        nearest = min(individuals, key=lambda i: (_or_infinite(i.assessment.excess), i.key))
        raise SearchError(
            "search",
            f"none of the {len(individuals)} networks tried is within the bounds; nearest is"
            f" lengths {list(nearest.lengths)}, channels {list(nearest.channels)}:"
            f" {nearest.assessment.reason}",
        )
    ranked = sorted(
        valid, key=lambda i: (-(i.steering or 0), _or_infinite(i.assessment.edge_j), i.key)
    )
    return tuple(ranked[:count])


def _or_infinite(value: float | None) -> float:
    return float("inf") if value is None else value
