"""One individual of a selection of layers, with all that is known of it."""

from collections.abc import Sequence

import msgspec
import numpy as np

from optimizer.freeze.config import FreezeGoal
from optimizer.freeze.mask import FreezeMask, parse_mask
from optimizer.search.hypervolume import hypervolume
from optimizer.search.pareto import nondominated


class FreezeIndividual(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A freeze mask and what came of it."""

    mask: str
    """One letter per layer: "1" trained, "0" frozen."""
    score: float
    """On the validation split after the brief training; or the sum of the layers' values."""
    cost: float
    """What is held against the limit: a share of training every layer, or joules."""
    flops: float
    """Operations of its training, as predicted."""
    energy_j: float
    """Predicted energy of its training."""
    loss: float | None = None
    """Mean loss of the last pass; None where nothing was trained."""
    training_s: float | None = None
    """Measured time of the training, preparations left out; None where nothing was trained."""

    @property
    def layers(self) -> FreezeMask:
        """The mask as bools."""
        return parse_mask(self.mask)

    @property
    def trained_layers(self) -> int:
        """How many layers are trained."""
        return self.mask.count("1")

    def aims(self, goals: Sequence[FreezeGoal], best_score: float) -> tuple[float, ...]:
        """Return what it reaches, every goal turned so that less is better.

        Args:
            goals: What is aimed at.
            best_score: The score that nothing surpasses.
        """
        values: dict[FreezeGoal, float] = {
            "score": best_score - self.score,
            "trained_layers": self.trained_layers,
            "energy": self.energy_j,
        }
        return tuple(values[goal] for goal in goals)


def front(
    individuals: Sequence[FreezeIndividual], goals: Sequence[FreezeGoal], best_score: float
) -> tuple[FreezeIndividual, ...]:
    """Return those that no other surpasses in every goal, the best by the first goal first.

    Of equally good ones the first by mask counts.
    """
    ordered = sorted(individuals, key=lambda i: (i.aims(goals, best_score), i.mask))
    points = np.asarray([i.aims(goals, best_score) for i in ordered], float)
    return tuple(ordered[i] for i in nondominated(points))


def front_volume(
    individuals: Sequence[FreezeIndividual],
    goals: Sequence[FreezeGoal],
    best_score: float,
    worst: Sequence[float],
) -> float:
    """Return the part of the box from zero to `worst` that a front dominates, 0 to 1."""
    corner = np.asarray(worst, float)
    points = np.asarray([i.aims(goals, best_score) for i in individuals], float)
    shares = points.reshape(-1, len(corner)) / corner
    return hypervolume(shares, np.ones(len(corner)))
