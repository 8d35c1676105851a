"""Model inputs with their classes."""

from dataclasses import dataclass

from headtail.tensor import Array


@dataclass(frozen=True, slots=True)
class Labelled:
    """Windows and what they are."""

    x: Array
    """float32, shape (N, ...) as the model takes them."""
    y: Array
    """Class index per window, shape (N,), int."""

    def take(self, chosen: Array) -> "Labelled":
        """Return the windows of these indices."""
        return Labelled(self.x[chosen], self.y[chosen])
