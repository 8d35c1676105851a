"""Admission: how many requests run, how many wait, and which are too late to start."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headtail.errors import DeadlineExceeded, Overloaded

Clock = Callable[[], float]
WHERE = "fog"
_MEMORY = 0.9  # weight of the past in the mean service time
_LEAST_DELAY_S = 0.01


class Admission:
    """Lets at most `max_running` requests run and `max_queued` wait, first come, first served."""

    def __init__(self, max_running: int, max_queued: int, clock: Clock = time.monotonic) -> None:
        """Start empty; `clock` is in seconds."""
        self._max_running = max_running
        self._max_queued = max_queued
        self._clock = clock
        self._lock = threading.Lock()
        self._running = 0
        self._waiting: deque[threading.Event] = deque()
        self._service_s = 0.0

    @property
    def running(self) -> int:
        """Requests that run now."""
        return self._running

    @property
    def queued(self) -> int:
        """Requests that wait now."""
        return len(self._waiting)

    @contextmanager
    def slot(self, remaining_s: float | None = None) -> Iterator[None]:
        """Hold one of the slots, after waiting for it.

        Args:
            remaining_s: Seconds until the answer is worth nothing; None means no deadline.

        Raises:
            Overloaded: If as many wait already as may.
            DeadlineExceeded: If the deadline passes first; the work is then not worth starting.
        """
        if remaining_s is not None and remaining_s <= 0:
            raise DeadlineExceeded(WHERE, 0.0)
        turn = self._enter()
        if turn is not None:
            self._await(turn, remaining_s)
        started = self._clock()
        try:
            yield
        finally:
            self._leave(self._clock() - started)

    def _enter(self) -> threading.Event | None:
        """Take a slot, or join the queue and return what says that it is our turn."""
        with self._lock:
            if self._running < self._max_running:
                self._running += 1
                return None
            if len(self._waiting) >= self._max_queued:
                raise Overloaded(WHERE, f"{len(self._waiting)} requests wait", self._delay_s())
            turn = threading.Event()
            self._waiting.append(turn)
            return turn

    def _leave(self, service_s: float) -> None:
        """Hand the slot to whoever waits longest, or give it back."""
        with self._lock:
            past = self._service_s or service_s
            self._service_s = _MEMORY * past + (1 - _MEMORY) * service_s
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._running -= 1

    def _await(self, turn: threading.Event, remaining_s: float | None) -> None:
        """Wait for our turn; a slot that comes at the last moment goes to the next."""
        if remaining_s is None or remaining_s > threading.TIMEOUT_MAX:
            turn.wait()
            return
        if turn.wait(remaining_s):
            return
        with self._lock:
            if not turn.is_set():
                self._waiting.remove(turn)
            elif self._waiting:
                self._waiting.popleft().set()
            else:
                self._running -= 1
        raise DeadlineExceeded(WHERE, remaining_s)

    def _delay_s(self) -> float:
        """Return after how long all that waits now should have had its turn."""
        return max(_LEAST_DELAY_S, self._service_s * (len(self._waiting) + 1) / self._max_running)
