"""The genetic algorithm: individuals of several integer chromosomes, evolved by PyGAD.

Of PyGAD's traps three are kept out here. Its crossovers mix the chromosomes of one flat vector, so
both operators are our own. It hands kept parents and elites their old fitness, wrong where fitness
is relative to the generation, so its keeping and saving are off and the elite passes through our
operators, evaluated anew. Its checkpoints are pickles, so none is written.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pygad

from headtail.tensor import Array

Chromosomes = tuple[tuple[int, ...], ...]
"""One individual: the genes of each chromosome."""
Evaluate = Callable[[Sequence[Chromosomes]], Sequence[float]]
"""Returns the fitness of a whole generation, which may be relative to it."""


@dataclass(frozen=True, slots=True)
class Space:
    """What there is to search."""

    chromosomes: tuple[tuple[tuple[int, ...], ...], ...]
    """The values that a gene may take, by chromosome and gene."""

    def __post_init__(self) -> None:
        if not self.genes or not all(self.genes):
            raise ValueError("a space needs at least one gene, and each gene a value")

    @property
    def genes(self) -> tuple[tuple[int, ...], ...]:
        """The values of every gene, the chromosomes one after another."""
        return tuple(itertools.chain.from_iterable(self.chromosomes))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each chromosome lies among the genes."""
        ends = list(itertools.accumulate(len(c) for c in self.chromosomes))
        return tuple(itertools.starmap(slice, itertools.pairwise([0, *ends])))

    def decode(self, genes: Array) -> Chromosomes:
        """Return the individual of a flat vector, shape (genes,)."""
        return tuple(tuple(int(gene) for gene in genes[part]) for part in self.slices)

    def encode(self, individual: Chromosomes) -> list[int]:
        """Return the flat vector of an individual."""
        return list(itertools.chain.from_iterable(individual))


@dataclass(frozen=True, slots=True)
class Settings:
    """How a population evolves."""

    population: int
    generations: int
    """Generations bred after the first, random one."""
    tournament: int
    """Individuals drawn for each parent, of whom the fittest mates."""
    mutation_ratio: float
    """Chance of each gene to change."""
    elite: int = 1
    """Fittest individuals of a generation that enter the next unchanged."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation with its fitness."""

    individuals: tuple[Chromosomes, ...]
    fitness: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evolved:
    """How an evolution went."""

    best: Chromosomes
    """The fittest of all generations; the first of equally fit ones."""
    fitness: float
    generations: tuple[Generation, ...]


def evolve(
    space: Space,
    evaluate: Evaluate,
    settings: Settings,
    seed: int,
    first: Sequence[Chromosomes] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Evolved:
    """Return the fittest individual found, and every generation on the way.

    Args:
        space: The values of every gene.
        evaluate: Called once for each generation, `settings.generations` + 1 times in all.
        settings: Sizes and rates.
        seed: Decides every draw; the same seed and fitness give the same history.
        first: Individuals that take the first places of the first generation.
        stop: Asked after every generation but the first; True ends the evolution.
    """
    history: list[Generation] = []

    def fitness(_ga: Any, flat: Array, _indices: Any) -> list[float]:
        individuals = tuple(space.decode(genes) for genes in flat)
        values = tuple(float(value) for value in evaluate(individuals))
        history.append(Generation(individuals, values))
        return list(values)

    algorithm = pygad.GA(
        num_generations=settings.generations,
        num_parents_mating=settings.population,
        initial_population=_drawn(space, settings.population, np.random.default_rng(seed), first),
        gene_type=int,
        gene_space=[list(values) for values in space.genes],
        fitness_func=fitness,
        fitness_batch_size=settings.population,
        parent_selection_type="tournament",
        K_tournament=settings.tournament,
        crossover_type=_crossover(space, settings.elite),
        mutation_type=_mutation(space, settings),
        keep_elitism=0,
        keep_parents=0,
        on_generation=lambda _ga: "stop" if stop() else None,
        random_seed=seed,
        suppress_warnings=True,
        logger=_silent(),
    )
    algorithm.run()
    best, value = max(
        (pair for g in history for pair in zip(g.individuals, g.fitness, strict=True)),
        key=lambda pair: pair[1],
    )
    return Evolved(best, value, tuple(history))


def sample(
    space: Space, settings: Settings, seed: int, first: Sequence[Chromosomes] = ()
) -> Iterator[tuple[Chromosomes, ...]]:
    """Yield as many generations as an evolution has, every one drawn at random.

    The first is that of `evolve` with the same seed.
    """
    rng = np.random.default_rng(seed)
    for generation in range(settings.generations + 1):
        given = () if generation else first
        drawn = _drawn(space, settings.population, rng, given)
        yield tuple(space.decode(np.asarray(genes)) for genes in drawn)


def cross(parents: Array, count: int, slices: Sequence[slice], rng: Any) -> Array:
    """Return `count` children, shape (count, genes), each of two successive parents.

    Every chromosome is crossed at a point of its own, its ends included: a child may take a whole
    chromosome from one parent.

    Args:
        parents: Shape (parents, genes).
        count: Children to breed; the parents are taken in turn.
        slices: Where each chromosome lies among the genes.
        rng: PyGAD's generator, a `numpy.random.RandomState`.
    """
    children = np.empty((count, parents.shape[1]), dtype=parents.dtype)
    for i in range(count):
        one, other = parents[i % len(parents)], parents[(i + 1) % len(parents)]
        for part in slices:
            point = part.start + int(rng.randint(0, part.stop - part.start + 1))
            children[i, part.start : point] = one[part.start : point]
            children[i, point : part.stop] = other[point : part.stop]
    return children


def mutate(children: Array, space: Space, ratio: float, rng: Any) -> Array:
    """Return the children, shape (N, genes), each gene changed with probability `ratio`.

    A gene changes to another of its own values, all equally likely; one with a single value stays.
    """
    mutants = children.copy()
    for i, j in zip(*np.nonzero(rng.random_sample(children.shape) < ratio), strict=True):
        others = [value for value in space.genes[j] if value != mutants[i, j]]
        if others:
            mutants[i, j] = others[int(rng.randint(0, len(others)))]
    return mutants


def _crossover(space: Space, count: int) -> Callable[[Array, tuple[int, int], Any], Array]:
    def crossover(parents: Array, size: tuple[int, int], ga: Any) -> Array:
        elite = np.argsort(-np.asarray(ga.last_generation_fitness), kind="stable")[:count]
        children = cross(parents, size[0] - count, space.slices, ga.numpy_random_generator)
        return np.concatenate([ga.population[elite], children])

    return crossover


def _mutation(space: Space, settings: Settings) -> Callable[[Array, Any], Array]:
    elite, ratio = settings.elite, settings.mutation_ratio

    def mutation(offspring: Array, ga: Any) -> Array:
        mutants = mutate(offspring[elite:], space, ratio, ga.numpy_random_generator)
        return np.concatenate([offspring[:elite], mutants])

    return mutation


def _drawn(
    space: Space, count: int, rng: np.random.Generator, first: Sequence[Chromosomes]
) -> list[list[int]]:
    given = [space.encode(individual) for individual in first[:count]]
    drawn = [[int(rng.choice(values)) for values in space.genes] for _ in range(len(given), count)]
    return [*given, *drawn]


def _silent() -> logging.Logger:
    """Return a logger that says nothing: PyGAD's own prints, and the traceback of every error."""
    logger = logging.Logger("pygad")  # noqa: LOG001 - of this search alone, not the process
    logger.addHandler(logging.NullHandler())
    return logger
