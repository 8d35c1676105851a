"""A window on its way into the model, and what every source of windows offers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from headtail.tensor import Array


@dataclass(frozen=True, slots=True)
class Frame:
    """One window, ready for the model."""

    sequence: int
    """Number of the window in this run, from 0, without gaps."""
    sample: int
    """Position in the source: R-peak sample, row, file or line number."""
    tensors: Mapping[str, Array]
    """The model's inputs by name; without the batch axis where the model has one."""
    truth: int | None = None
    """Index of the true label, where the source knows it."""


class FrameSource(Protocol):
    """A source of windows, in order."""

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield what is there now, 1 to `limit` frames at a time, and wait where nothing is.

        Ends at the end of the source, or soon after the run is asked to stop.

        Raises:
            HeadtailError: If the source is malformed; the text names the file and the place.
        """
        ...

    def close(self) -> None:
        """Free what the source holds."""
        ...
