"""Windows that were drawn for the fog's sample and wait to be sent, within bounds."""

import threading
from collections import Counter, deque
from dataclasses import dataclass

from edge_agent.plan import Plan
from edge_agent.sources.frame import Frame

MAX_WAITING, MAX_WAITING_BYTES = 64, 4 << 20
CALL_WINDOWS, CALL_BYTES = 16, 1 << 20
"""What one call brings at most, but for a window that is larger by itself."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A window, and the bundle whose inputs it is."""

    frame: Frame
    plan: Plan
    digest: str

    @property
    def size_bytes(self) -> int:
        """Of its inputs."""
        return sum(array.nbytes for array in self.frame.tensors.values())


class CaptureQueue:
    """Filled by the run's thread, emptied by one that sends."""

    def __init__(self) -> None:
        """Begin open and empty."""
        self._lock = threading.Condition()
        self._waiting: deque[Drawn] = deque()
        self._bytes = 0
        self._is_wanted = True
        self._is_closed = False
        self.windows: Counter[str] = Counter()
        """Windows drawn, by what became of them."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        """Whether the run has ended."""
        return self._is_closed

    def put(self, drawn: Drawn) -> None:
        """Add a window, where any is wanted and there is room."""
        with self._lock:
            if not self._is_wanted:
                self.windows["unwanted"] += 1
                return
            size = self._bytes + drawn.size_bytes
            if len(self._waiting) >= MAX_WAITING or size > MAX_WAITING_BYTES:
                self.windows["dropped"] += 1
                return
            self._waiting.append(drawn)
            self._bytes = size
            self._lock.notify_all()

    def first(self) -> Drawn | None:
        """Wait for a window and return it where it is; None when the run has ended and all went."""
        with self._lock:
            self._lock.wait_for(lambda: self._waiting or self._is_closed)
            return self._waiting[0] if self._waiting else None

    def take(self) -> list[Drawn]:
        """Remove and return what waits of one bundle, as much as a call may bring."""
        batch: list[Drawn] = []
        size = 0
        with self._lock:
            while self._waiting and len(batch) < CALL_WINDOWS:
                first = self._waiting[0]
                size += first.size_bytes
                if batch and (first.digest != batch[0].digest or size > CALL_BYTES):
                    break
                batch.append(self._waiting.popleft())
                self._bytes -= first.size_bytes
        return batch

    def count(self, outcome: str, windows: int) -> None:
        """Count windows that were taken."""
        with self._lock:
            self.windows[outcome] += windows

    def rest(self, seconds: float, *, is_wanted: bool) -> None:
        """Let a time pass, or the run end; unwanted windows are not kept meanwhile."""
        with self._lock:
            self._is_wanted = is_wanted
            if not is_wanted:
                self._clear("unwanted")
            self._lock.wait_for(lambda: self._is_closed, seconds)
            self._is_wanted = True
            if self._is_closed:  # there is no time for another attempt
                self._clear("failed")

    def close(self) -> None:
        """End: what waits may still be sent."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()

    def _clear(self, outcome: str) -> None:
        self.windows[outcome] += len(self._waiting)
        self._waiting.clear()
        self._bytes = 0
