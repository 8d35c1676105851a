"""The evolution of freeze masks: every mask is judged once, whatever judges it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from optimizer.freeze.config import FreezeConfig
from optimizer.freeze.individual import FreezeIndividual, front, front_volume
from optimizer.freeze.mask import FreezeMask, parse_mask, tail_mask
from optimizer.search.chromosomes import Chromosomes, Space
from optimizer.search.evolution import Settings, evolve, sample
from optimizer.search.pareto import worth

Judge = Callable[[Sequence[FreezeMask]], Iterable[FreezeIndividual]]
"""Returns the individuals of new masks in their order, each as soon as it is known."""


class FreezeGeneration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One generation in figures."""

    generation: int
    best: float
    """Largest score in it."""
    mean: float
    known: int
    """Different masks judged so far."""
    front: int
    """Of those, how many no other surpasses in every objective."""
    hypervolume: float
    """The part of the box from zero to the worst of every objective that the front dominates."""


class Watcher(Protocol):
    """Who is told how a selection goes."""

    def individual(self, generation: int, individual: FreezeIndividual) -> None:
        """Hear of a mask when it has been judged."""

    def advance(self, done: int, generation: int) -> None:
        """Hear how many individuals of all generations are done, repeated ones counted."""

    def generation(self, record: FreezeGeneration) -> None:
        """Hear of a finished generation."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is selected, and how masks are judged."""

    config: FreezeConfig
    layers: int
    judge: Judge
    always: tuple[int, ...] = ()
    """Places of layers that are trained in any case."""
    best_score: float = 1.0
    """The score that nothing surpasses."""
    worst_energy_j: float = 1.0
    """Of training every layer."""


@dataclass(frozen=True, slots=True)
class Selected:
    """How a selection went."""

    best: FreezeIndividual
    """The fittest of all; of equally fit ones the one of least cost."""
    individuals: tuple[FreezeIndividual, ...]
    """Every mask once, in the order in which they were judged."""
    front: tuple[FreezeIndividual, ...]
    """The masks that no other surpasses in every objective."""
    generations: tuple[FreezeGeneration, ...]


def select_masks(problem: Problem, seed: int, watcher: Watcher) -> Selected:
    """Return the fittest mask found and the history; the same for the same seed and judgement."""
    config = problem.config
    state = _Selection(problem, watcher)
    settings = Settings(
        population=config.population,
        generations=config.generations,
        tournament=config.tournament,
        mutation_ratio=config.mutation,
        elite=min(config.elite, config.population - 1),
        draws=config.draws,
        crossover_ratio=config.crossover,
    )
    if config.method == "random":
        for generation in sample(state.space, settings, seed, state.first()):
            state.evaluate(generation)
    else:
        evolve(state.space, state.evaluate, settings, seed, state.first())
    return state.finish()


def scalar_fitness(individual: FreezeIndividual, config: FreezeConfig) -> float:
    """Return alpha * score - beta * max(cost - limit, 0).

    Source: ToSiM-IoT, eq. 8, with any score in place of the sum of values.
    """
    over = max(individual.cost - config.limit, 0.0)
    return config.alpha * individual.score - config.beta * over


@dataclass(frozen=True, slots=True)
class _Masks(Space):
    """Bits, those of layers that are always trained set."""

    is_new: Callable[[str], bool]
    """Asked once about every mask that is drawn or bred."""

    def is_wanted(self, individual: Chromosomes) -> bool:
        return self.is_new(_text(individual))


class _Selection:
    """Judges every mask once; knows all that were seen."""

    def __init__(self, problem: Problem, watcher: Watcher) -> None:
        self.problem = problem
        self.config = problem.config
        self.watcher = watcher
        genes = [(1,) if i in problem.always else (0, 1) for i in range(problem.layers)]
        self.space = _Masks((tuple(genes),), self._is_new)
        self.known: dict[str, FreezeIndividual] = {}
        self.drawn: set[str] = set()
        self.front: tuple[FreezeIndividual, ...] = ()
        self.records: list[FreezeGeneration] = []

    def first(self) -> list[Chromosomes]:
        """Return the individuals that open the first generation."""
        always = self.problem.always
        tails = (tail_mask(self.problem.layers, share) for share in self.config.tails)
        masks = [tuple(int(b or i in always) for i, b in enumerate(mask)) for mask in tails]
        unique: list[Chromosomes] = [(mask,) for mask in dict.fromkeys(masks)]
        unique = unique[: self.config.population]
        self.drawn.update(map(_text, unique))
        return unique

    def evaluate(self, generation: Sequence[Chromosomes]) -> list[float]:
        """Return the fitness of a generation; called for one after another."""
        number = len(self.records)
        texts = [_text(chromosomes) for chromosomes in generation]
        fresh = list(dict.fromkeys(text for text in texts if text not in self.known))
        done = number * self.config.population + len(texts) - len(fresh)
        self.watcher.advance(done, number)
        for individual in self.problem.judge([parse_mask(text) for text in fresh]):
            self.known[individual.mask] = individual
            if individual.cost <= self.config.limit:
                rivals = (*self.front, individual)
                self.front = front(rivals, self.config.objectives, self.problem.best_score)
            done += 1
            self.watcher.individual(number, individual)
            self.watcher.advance(done, number)
        individuals = [self.known[text] for text in texts]
        self._record(individuals)
        return self._fitness(individuals)

    def finish(self) -> Selected:
        """Return what was found."""
        individuals = tuple(self.known.values())
        best = max(individuals, key=lambda i: (scalar_fitness(i, self.config), -i.cost, i.mask))
        return Selected(best, individuals, self.front, tuple(self.records))

    def _is_new(self, text: str) -> bool:
        """Return whether a mask was never seen, and take note of it."""
        is_new = text not in self.drawn
        self.drawn.add(text)
        return is_new

    def _fitness(self, individuals: Sequence[FreezeIndividual]) -> list[float]:
        goals, limit = self.config.objectives, self.config.limit
        if goals == ("score",):
            return [scalar_fitness(i, self.config) for i in individuals]
        points = np.asarray([i.aims(goals, self.problem.best_score) for i in individuals], float)
        within = np.asarray([i.cost <= limit for i in individuals])
        values = np.asarray([limit - i.cost - len(individuals) for i in individuals], float)
        if within.any():  # an empty front has no worth
            values[within] = worth(points[within])
        return [float(value) for value in values]

    def _record(self, individuals: Sequence[FreezeIndividual]) -> None:
        scores = [i.score for i in individuals]
        problem, goals = self.problem, self.config.objectives
        worst = {
            "score": problem.best_score,
            "trained_layers": problem.layers,
            "energy": problem.worst_energy_j,
        }
        corner = [float(worst[goal]) or 1.0 for goal in goals]
        record = FreezeGeneration(
            generation=len(self.records),
            best=max(scores),
            mean=float(np.mean(scores)),
            known=len(self.known),
            front=len(self.front),
            hypervolume=front_volume(self.front, goals, problem.best_score, corner),
        )
        self.records.append(record)
        self.watcher.generation(record)


def _text(chromosomes: Chromosomes) -> str:
    (genes,) = chromosomes
    return "".join(map(str, genes))
