"""SIGTERM and SIGINT begin the drain; one that comes while bundles load waits for that."""

import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Signals:
    """Waits for a signal.

    Built on SimpleQueue, whose `put` may interrupt its `get`: the lock of an event may be held by
    the very thread in which the handler runs.
    """

    def __init__(self) -> None:
        self._came: queue.SimpleQueue[int] = queue.SimpleQueue()

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle both signals meanwhile; only the main thread may ask for it."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait(self) -> None:
        """Return once a signal has come; a second of its kind ends the program at once."""
        self._came.get()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        self._came.put(number)
