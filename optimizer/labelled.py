"""Model inputs with their classes."""

from dataclasses import dataclass

import numpy as np

from headtail.tensor import Array


@dataclass(frozen=True, slots=True)
class Labelled:
    """Windows and what they are."""

    x: Array
    """float32, shape (N, ...) as the model takes them; images may be uint8."""
    y: Array
    """Class index per window, shape (N,), int."""

    def take(self, chosen: Array) -> "Labelled":
        """Return the windows of these indices."""
        return Labelled(self.x[chosen], self.y[chosen])

    def joined(self, other: "Labelled") -> "Labelled":
        """Return these windows, then the others."""
        return Labelled(np.concatenate([self.x, other.x]), np.concatenate([self.y, other.y]))
