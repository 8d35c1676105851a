"""The archive of a search: every network once, the best of them as a front, and its volume."""

from collections.abc import Iterable, Mapping

import numpy as np

from headtail.tensor import Array
from optimizer.recipe.search import Goal
from optimizer.search.hypervolume import hypervolume
from optimizer.search.individual import Individual, NetworkKey
from optimizer.search.pareto import nondominated

UNKNOWN_LIMIT = 1.0  # where nothing else bounds an objective: an accuracy of 0, and energies of 0


class Archive:
    """All networks seen; holds some hundred bytes for each and nothing that was trained.

    Attributes:
        goals: What the front is about.
        known: Every individual by its network.
        reference: The corner of the volume, shape (goals,), every goal turned so that less is
            better: the bounds and, where there is none, the worst of the first feasible networks.
            None before there are any.
    """

    def __init__(
        self, goals: tuple[Goal, ...], limits: Mapping[Goal, float | None] | None = None
    ) -> None:
        """Begin with nothing.

        Args:
            goals: What the front is about.
            limits: Bounds on them; those not named have none.
        """
        self.goals = goals
        self.known: dict[NetworkKey, Individual] = {}
        self.reference: tuple[float, ...] | None = None
        self._limits = {"accuracy": 1.0, **(limits or {})}
        self._front: dict[NetworkKey, tuple[float, ...]] = {}
        self._volume = 0.0

    def add(self, individuals: Iterable[Individual]) -> None:
        """Take what a generation brought, and bring front, corner and volume up to date.

        An individual of a network that is known takes its place. The order says nothing.
        """
        new: dict[NetworkKey, tuple[float, ...]] = {}
        for individual in individuals:
            self.known[individual.key] = individual
            aims = individual.aims(self.goals)
            if aims is not None:
                new[individual.key] = aims
        if not new:
            return
        if self.reference is None:
            self.reference = self._corner(np.asarray(list(new.values())))
        rivals = sorted((self._front | new).items())  # of equally good ones the first by name
        chosen = nondominated(np.asarray([aims for _, aims in rivals]))
        front = dict(rivals[i] for i in chosen)
        if front != self._front:
            self._front = front
            corner = np.asarray(self.reference)
            shares = np.asarray(list(front.values())) / corner
            self._volume = hypervolume(shares, np.ones(len(corner)))

    @property
    def front(self) -> tuple[Individual, ...]:
        """The networks that no other surpasses in every goal, the best by the first goal first."""
        ranked = sorted(self._front.items(), key=lambda item: (item[1], item[0]))
        return tuple(self.known[key] for key, _ in ranked)

    @property
    def volume(self) -> float:
        """The part of the box from zero to the corner that the front dominates, 0 to 1."""
        return self._volume

    @property
    def trained(self) -> tuple[Individual, ...]:
        """Every network that was trained."""
        return tuple(i for i in self.known.values() if i.score is not None)

    def _corner(self, aims: Array) -> tuple[float, ...]:
        worst = aims.max(axis=0)
        limits = [self._limits.get(goal) for goal in self.goals]
        corner = [float(w) if n is None else n for w, n in zip(worst, limits, strict=True)]
        return tuple(value if value > 0 else UNKNOWN_LIMIT for value in corner)
