"""How a run goes, for other programs: `optimizer run --json` writes these, a JSON object a line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import msgspec

from headtail.errors import HeadtailError

if TYPE_CHECKING:
    from optimizer.progress import Advance

MIN_INTERVAL_S = 0.5
"""Shortest time between two lines of progress in one stage."""


class StageBegun(msgspec.Struct, frozen=True, tag_field="event", tag="stage"):
    """A stage has begun."""

    stage: str


class Progressed(msgspec.Struct, frozen=True, tag_field="event", tag="progress"):
    """A stage goes on."""

    stage: str
    done: int
    total: int
    note: str = ""


class StageEnded(msgspec.Struct, frozen=True, tag_field="event", tag="stage_ended"):
    """A stage is over, well."""

    stage: str
    seconds: float


class Said(msgspec.Struct, frozen=True, tag_field="event", tag="line"):
    """A line for people."""

    text: str


class RunFailed(msgspec.Struct, frozen=True, tag_field="event", tag="failed"):
    """The run is over, with an error; the last event."""

    error: str


class RunFinished(msgspec.Struct, frozen=True, tag_field="event", tag="finished"):
    """The run is over, and the bundle is there; the last event."""

    bundle: str
    """Path of the bundle."""
    digest: str


Event = StageBegun | Progressed | StageEnded | Said | RunFailed | RunFinished
_decoder = msgspec.json.Decoder(Event)


def decode_event(line: bytes) -> Event | None:
    """Return the event of a line; None where it holds none that is known here."""
    try:
        event: Event = _decoder.decode(line)
    except msgspec.DecodeError:
        return None
    return event


class EventWriter:
    """A reporter that writes events as lines, each in one piece and at once."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the stream to write to and the clock to measure with."""
        self._out = out
        self._clock = clock

    def write(self, event: Event) -> None:
        """Write one event."""
        self._out.write(msgspec.json.encode(event).decode() + "\n")
        self._out.flush()

    def say(self, text: str) -> None:
        """Write one line for people."""
        self.write(Said(text))

    @contextmanager
    def stage(self, name: str) -> "Iterator[Advance]":
        """Say that a stage goes on until the block ends, how far it is, and how long it took."""
        began = self._clock()
        said_at = began - MIN_INTERVAL_S
        self.write(StageBegun(name))

        def advance(done: int, total: int, note: str) -> None:
            nonlocal said_at
            now = self._clock()
            if now - said_at >= MIN_INTERVAL_S or done == total:
                said_at = now
                self.write(Progressed(name, done, total, note))

        yield advance
        self.write(StageEnded(name, self._clock() - began))

    @contextmanager
    def run(self) -> Iterator[None]:
        """Say why the block fails, if it does."""
        try:
            yield
        except Exception as error:
            self.write(RunFailed(f"{_kind(error)}{' '.join(str(error).split())}"))
            raise


def _kind(error: Exception) -> str:
    return "" if isinstance(error, HeadtailError) else f"{type(error).__name__}: "
