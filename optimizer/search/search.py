"""The search for the hidden layers of a network that does best within the bounds.

Costs first: a network that breaks a bound at every partition point is never trained. The point and
its encoding are no genes: all are enumerated for every network, from sending the raw window to
running everything on the edge, so the best is always exact. Source of the chromosomes, the order
of the checks and the adjusted fitness: energy-aware NAS with partitioning, Sec. III-B.

The paper takes whatever is drawn and bred. Here lengths that do not go together are repaired, and
what is out of bounds or known already is drawn or bred again a number of times, since knowing so
costs nothing beside a training; `repair = false` and `draws = 1` bring the paper's way back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from headtail.errors import SearchError
from optimizer.network import Genome
from optimizer.recipe.recipe import NetworkConfig
from optimizer.recipe.search import ZERO_SHOT, Goal, SearchConfig
from optimizer.search.archive import Archive
from optimizer.search.chromosomes import Chromosomes
from optimizer.search.evolution import Settings, evolve, sample
from optimizer.search.fitness import LEAST_SCORE, fitness
from optimizer.search.individual import Assessment, Individual, NetworkKey
from optimizer.search.record import GenerationRecord, SearchRecord, Watcher
from optimizer.search.space import NetworkSpace, Shape, network_space
from optimizer.search.training import Evaluate, Scores, SearchTraining, TrainingKey


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
    inputs: tuple[Shape, ...] = ()
    """The inputs besides the network's own, in the order of [[search.inputs]]."""
    restored: Mapping[TrainingKey, Scores] = field(default_factory=dict)
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
        config.population,
        config.generations,
        config.tournament,
        config.mutation,
        elite,
        config.draws,
    )
    space, first = state.space, [state.space.own]
    if config.method == "random":
        for generation in sample(space, settings, seed, first):
            state.evaluate(generation)
            if state.is_stalled():
                break
    else:
        evolve(space, state.evaluate, settings, seed, first, state.is_stalled)
    return state.finish()


class _Search:
    """Measures every network once; knows all that were seen."""

    def __init__(self, problem: Problem, watcher: Watcher) -> None:
        self.problem = problem
        self.config = problem.config
        self.watcher = watcher
        self.archive = Archive(problem.goals, problem.limits)
        self.space: NetworkSpace = network_space(
            problem.network, problem.config, problem.inputs, self.is_promising
        )
        self.training = SearchTraining(
            problem.config, problem.classes, problem.evaluate, problem.restored, watcher
        )
        self.drawn: dict[NetworkKey, Individual] = {}  # for the coming generation, feasible
        self.records: list[GenerationRecord] = []
        self.best = float("-inf")  # of what the search makes larger, so far
        self.stalled = 0  # generations since then

    def evaluate(self, generation: Sequence[Chromosomes]) -> list[float]:
        """Return the fitness of a generation; called for one after another."""
        blanks = [self.space.individual(chromosomes) for chromosomes in generation]
        fresh = {i.key: i for i in blanks if i.key not in self.archive.known}
        done = len(self.records) * self.config.population + len(blanks) - len(fresh)
        self.archive.add(self._measure(list(fresh.values()), done))
        individuals = [self.archive.known[i.key] for i in blanks]
        self._record(individuals)
        return fitness(individuals, self.config.objectives)

    def is_promising(self, individual: Individual) -> bool:
        """Return whether a network is new, in the coming generation too, and within the bounds."""
        if individual.key in self.archive.known or individual.key in self.drawn:
            return False
        assessed = self._assess(individual)
        if assessed.assessment.is_feasible:
            self.drawn[individual.key] = assessed
        return assessed.assessment.is_feasible

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
            last = max(0, min(len(self.records), self.config.generations))
            done = len(self.records) * self.config.population
            self.archive.add(self.training.train(untrained, last, done))
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

    def _measure(self, fresh: Sequence[Individual], done: int) -> list[Individual]:
        """Return the networks assessed and, where they are feasible and it is asked, trained."""
        assessed = [self.drawn.get(i.key) or self._assess(i) for i in fresh]
        self.drawn.clear()
        is_trained = self.config.method not in ZERO_SHOT
        waiting = [i for i in assessed if is_trained and i.assessment.is_feasible]
        ready = [i for i in assessed if not (is_trained and i.assessment.is_feasible)]
        for individual in ready:
            self.watcher.individual(len(self.records), individual)
        self.watcher.advance(done + len(ready))
        halved = self.training.halve(waiting, len(self.records), done + len(ready))
        trained = {i.key: i for i in halved}
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
    """Return the best in the search; of equal ones the longer trained, then the cheaper.

    Raises:
        SearchError: If none is feasible; names the nearest miss in energy.
    """
    valid = [i for i in individuals if i.steering is not None]
    if not valid:
        nearest = min(individuals, key=lambda i: (_or_infinite(i.assessment.excess), i.key))
        raise SearchError(
            "search",
            f"none of the {len(individuals)} networks tried is within the bounds; nearest is"
            f" {nearest.description}: {nearest.assessment.reason}",
        )

    def order(i: Individual) -> tuple[float, int, float, NetworkKey]:
        return -(i.steering or 0), -i.epochs, _or_infinite(i.assessment.edge_j), i.key

    return tuple(sorted(valid, key=order)[:count])


def _or_infinite(value: float | None) -> float:
    return float("inf") if value is None else value
