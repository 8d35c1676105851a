"""A window on its way into the model, and what every source of windows offers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from headtail.tensor import Array


class Frame(msgspec.Struct, frozen=True):
    """One window, ready for the model."""

    sequence: int
    """Number of the window, without gaps; it goes on where a run continues another."""
    sample: int
    """Position in the source: R-peak sample, row, file or line number."""
    tensors: Mapping[str, Array]
    """The model's inputs by name; without the batch axis where the model has one."""
    truth: int | None = None
    """Index of the true label, where the source knows it."""
    place: str = ""
    """The position by name, where the source has names."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a source begins: after the last window of the run that it continues."""

    sequence: int = 0
    """Of the first window."""
    sample: int = -1
    """Position of the last window before; -1 where there is none."""
    place: str = ""
    """The same by name, where the source has names."""


BEGINNING = Start()


class FrameSource(Protocol):
    """A source of windows, in order."""

    @property
    def identity(self) -> str:
        """What must be the same for a run to continue another: kind, path, size or checksum."""
        ...

    @property
    def is_replayed(self) -> bool:
        """Whether it yields its windows again when it is opened again."""
        ...

    def resume(self, start: Start) -> None:
        """Begin there, and not at the first window; before `batches`."""
        ...

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
