"""Individuals of several integer chromosomes, and the values that their genes may take."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headtail.tensor import Array

Chromosomes = tuple[tuple[int, ...], ...]
"""One individual: the genes of each chromosome."""
Uniform = Callable[[], float]
"""Draws from 0 up to, but not including, 1."""


@dataclass(frozen=True, slots=True)
class Space:
    """What there is to search; as it stands, every value of a gene goes with all of the others."""

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

    def draw(self, uniform: Uniform) -> Chromosomes:
        """Return a random individual, every value of a gene equally likely."""
        return tuple(tuple(pick(values, uniform) for values in c) for c in self.chromosomes)

    def repair(self, individual: Chromosomes, uniform: Uniform) -> Chromosomes:
        """Return a bred individual with genes changed that do not go together: here none."""
        del uniform
        return individual

    def is_wanted(self, individual: Chromosomes) -> bool:
        """Return whether there is no reason to draw or breed another in its place; asked once."""
        del individual
        return True


def pick(values: Sequence[int], uniform: Uniform) -> int:
    """Return one of the values, all equally likely."""
    return values[int(uniform() * len(values))]
