"""The genetic algorithm: individuals of several integer chromosomes, evolved by PyGAD.

Of PyGAD's traps three are kept out here. Its crossovers mix the chromosomes of one flat vector, so
children are bred by operators of our own. It hands kept parents and elites their old fitness, wrong
where fitness is relative to the generation, so its keeping and saving are off and the elite passes
through as children, evaluated anew. Its checkpoints are pickles, so none is written.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pygad

from headtail.tensor import Array
from optimizer.search.chromosomes import Chromosomes, Space

Evaluate = Callable[[Sequence[Chromosomes]], Sequence[float]]
"""Returns the fitness of a whole generation, which may be relative to it."""


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
    draws: int = 1
    """Individuals drawn or bred for each place until one is wanted; 1 takes what comes. Where none
    bred is wanted, as many are drawn at random; where none of those is, the last one bred stays."""
    crossover_ratio: float = 1.0
    """Chance that a child is crossed from two parents; else it is the first of them, mutated."""


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
        initial_population=_drawn(space, settings, np.random.default_rng(seed), first),
        gene_type=int,
        gene_space=[list(values) for values in space.genes],
        fitness_func=fitness,
        fitness_batch_size=settings.population,
        parent_selection_type="tournament",
        K_tournament=settings.tournament,
        crossover_type=_breeding(space, settings),
        mutation_type=None,
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
        drawn = _drawn(space, settings, rng, given)
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


def _breeding(space: Space, settings: Settings) -> Callable[[Array, tuple[int, int], Any], Array]:
    def breed(parents: Array, size: tuple[int, int], ga: Any) -> Array:
        """Return the next generation: the elite, then the children of two parents each."""
        rng, slices = ga.numpy_random_generator, space.slices
        fitness = np.asarray(ga.last_generation_fitness)
        elite = np.argsort(-fitness, kind="stable")[: settings.elite]

        def child(i: int) -> Chromosomes:
            pair = parents[[i % len(parents), (i + 1) % len(parents)]]
            is_crossed = (
                settings.crossover_ratio >= 1 or rng.random_sample() < settings.crossover_ratio
            )
            bred = cross(pair, 1, slices, rng) if is_crossed else pair[:1]
            children = mutate(bred, space, settings.mutation_ratio, rng)
            return space.repair(space.decode(children[0]), rng.random_sample)

        def place(i: int) -> Chromosomes:
            bred, is_wanted = _first_wanted(partial(child, i), space, settings.draws)
            if is_wanted:
                return bred
            draw = partial(space.draw, rng.random_sample)
            drawn, is_wanted = _first_wanted(draw, space, settings.draws)
            return drawn if is_wanted else bred

        children = [space.encode(place(i)) for i in range(size[0] - settings.elite)]
        return np.concatenate([ga.population[elite], np.reshape(children, (-1, parents.shape[1]))])

    return breed


def _drawn(
    space: Space, settings: Settings, rng: np.random.Generator, first: Sequence[Chromosomes]
) -> list[list[int]]:
    given = first[: settings.population]
    draw = partial(space.draw, rng.random)
    drawn = [
        _first_wanted(draw, space, settings.draws)[0]
        for _ in range(len(given), settings.population)
    ]
    return [space.encode(individual) for individual in (*given, *drawn)]


def _first_wanted(
    make: Callable[[], Chromosomes], space: Space, draws: int
) -> tuple[Chromosomes, bool]:
    """Return the first individual made that is wanted, or the last of all, and whether it is."""
    individual = make()
    for _ in range(draws - 1):
        if space.is_wanted(individual):
            return individual, True
        individual = make()
    return individual, draws == 1 or space.is_wanted(individual)


def _silent() -> logging.Logger:
    """Return a logger that says nothing: PyGAD's own prints, and the traceback of every error."""
    logger = logging.Logger("pygad")  # noqa: LOG001 - of this search alone, not the process
    logger.addHandler(logging.NullHandler())
    return logger
