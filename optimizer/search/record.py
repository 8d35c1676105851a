"""What a search tells: of every generation while it goes on, and of what it found at the end."""

from typing import Protocol

import msgspec

from optimizer.recipe.recipe import NetworkConfig
from optimizer.recipe.search import Goal
from optimizer.search.individual import Individual


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
    stuck: int = 0
    """Trained networks that came to do no better than one class for everything."""

    @property
    def network(self) -> NetworkConfig:
        """The network to train."""
        return NetworkConfig(self.winner.lengths, self.winner.channels, self.winner.kernels)

    def __str__(self) -> str:
        last = self.generations[-1]
        return (
            f"{self.winner.description}: scores {self.winner.score or 0:.3f} and"
            f" {self.winner.final_score or 0:.3f} on the halves of the validation split;"
            f" {last.trained} of {last.known} networks trained, {self.stuck} of them stuck at one"
            f" class, {last.front} on the front"
        )


class Watcher(Protocol):
    """Who is told how a search goes."""

    def individual(self, generation: int, individual: Individual) -> None:
        """Hear of a network when all is known of it, in the order in which that happens.

        One that is trained at several rungs is told of at each.
        """

    def advance(self, done: int) -> None:
        """Hear how many individuals of all generations are done, repeated ones counted."""

    def generation(self, record: GenerationRecord) -> None:
        """Hear of a finished generation."""
