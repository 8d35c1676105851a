"""What is known of one tensor while a model is traced."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optimizer.prune.channels import Ids

NO_IDS: Ids = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """A tensor of the model, with the id of the channel that each place along one axis belongs to.

    After a flatten, one id stands at many places.
    """

    spec: Any
    """Shape (batch first) and dtype: a `keras.KerasTensor`."""
    axis: int | None
    """Along which axis channels may be dropped; None: it stays as it is."""
    ids: Ids = field(default_factory=lambda: NO_IDS)
    """Shape (size of the axis,)."""
    reason: str = ""
    """Where the axis is None, why."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape with the batch axis first; None where open."""
        return tuple(self.spec.shape)

    def moved(self, spec: Any, axis: int | None = None) -> "Flow":
        """Return the same channels in a tensor of another shape, along another axis if given."""
        return Flow(spec, self.axis if axis is None else axis, self.ids, self.reason)


def fixed(spec: Any, reason: str) -> Flow:
    """Return the flow of a tensor of which nothing can be dropped."""
    return Flow(spec, None, NO_IDS, reason)


def positions(shape: tuple[int | None, ...], without: int) -> int | None:
    """Return how many places one channel has: the product of all axes but batch and channel.

    None where one of them is open.
    """
    sizes = [n for i, n in enumerate(shape) if i not in (0, without % len(shape))]
    return math.prod(n for n in sizes if n is not None) if None not in sizes else None
