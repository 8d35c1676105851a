"""Admission: how many requests run, how many wait and in which order, and which are turned away."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fog_server.fairness import FairQueue
from fog_server.refusal import Cause, expiry, refusal

Clock = Callable[[], float]
_MEMORY = 0.9  # weight of the past in the mean service time
_LEAST_DELAY_S = 0.01
_SPREAD = 0.5  # those turned away together come back over this share of their delay


@dataclass(slots=True, eq=False)
class _Waiter:
    """A request in the queue; `turn` is set when it may run, or is to leave."""

    agent: str
    windows: int
    turn: threading.Event = field(default_factory=threading.Event)
    is_pushed_out: bool = False


class Admission:
    """Lets at most `max_running` requests run and `max_queued` wait; agents take turns.

    When the queue is full, a newcomer takes the place of what would run last, if its own turn would
    come before: nobody can keep the others out by asking more.
    """

    def __init__(
        self,
        max_running: int,
        max_queued: int,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """Start empty; `clock` is in seconds, `rng` spreads the delays told."""
        self._max_running = max_running
        self._max_queued = max_queued
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - no secret
        self._lock = threading.Lock()
        self._running = 0
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._service_s = 0.0

    @property
    def running(self) -> int:
        """Requests that run now."""
        return self._running

    @property
    def queued(self) -> int:
        """Requests that wait now."""
        return len(self._queue)

    @contextmanager
    def slot(
        self, remaining_s: float | None = None, agent: str = "", windows: int = 1
    ) -> Iterator[None]:
        """Hold one of the slots, after waiting for it.

        Args:
            remaining_s: Seconds until the answer is worth nothing; None means no deadline.
            agent: Whose request it is.
            windows: How many windows it holds.

        Raises:
            Overloaded: If as many wait already as may, or its turn would come too late.
            DeadlineExceeded: If the deadline passes first; the work is then not worth starting.
        """
        if remaining_s is not None and remaining_s <= 0:
            raise expiry(Cause.EXPIRED_ON_WAY, remaining_s)
        waiter = self._enter(remaining_s, agent, windows)
        if waiter is not None:
            self._await(waiter, remaining_s)
        started = self._clock()
        try:
            yield
        finally:
            self._leave(self._clock() - started)

    def _enter(self, remaining_s: float | None, agent: str, windows: int) -> _Waiter | None:
        """Take a slot, or join the queue and return what waits there."""
        with self._lock:
            if self._running < self._max_running:
                self._running += 1
                return None
            tag = self._queue.tag(agent, windows)
            if remaining_s is not None:
                self._check_time(remaining_s, tag)
            if len(self._queue) >= self._max_queued:
                self._make_room(tag)
            waiter = _Waiter(agent, windows)
            self._queue.push(waiter)
            return waiter

    def _check_time(self, remaining_s: float, tag: int) -> None:
        """Turn away what cannot be answered in time while its sender can still do without."""
        ahead = self._queue.ahead(tag)
        expected_s = self._service_s * (ahead / self._max_running + 1)
        if expected_s > remaining_s:
            reason = f"expected to take {expected_s:.3f} s of {remaining_s:.3f} s"
            raise refusal(Cause.TOO_SLOW, reason, self._delay_s(expected_s - remaining_s))

    def _make_room(self, tag: int) -> None:
        """Push out what would run last, if the newcomer would run before it.

        Raises:
            Overloaded: If it would not.
        """
        pushed = self._queue.take_last(tag)
        if pushed is None:
            raise refusal(Cause.QUEUE_FULL, f"{len(self._queue)} requests wait", self._queue_s())
        pushed.is_pushed_out = True
        pushed.turn.set()

    def _leave(self, service_s: float) -> None:
        """Learn how long it took, and hand the slot on."""
        with self._lock:
            past = self._service_s or service_s
            self._service_s = _MEMORY * past + (1 - _MEMORY) * service_s
            self._hand_on()

    def _hand_on(self) -> None:
        """Hand the slot to whoever's turn it is, or give it back."""
        if self._queue:
            self._queue.pop().turn.set()
        else:
            self._running -= 1

    def _await(self, waiter: _Waiter, remaining_s: float | None) -> None:
        """Wait for our turn while there is time to run; a slot that comes later is passed on."""
        if remaining_s is None or remaining_s > threading.TIMEOUT_MAX:
            waiter.turn.wait()
        elif not waiter.turn.wait(max(0.0, remaining_s - self._service_s)):
            self._give_up(waiter)
            raise expiry(Cause.EXPIRED_IN_QUEUE, remaining_s)
        if waiter.is_pushed_out:
            with self._lock:
                delay_s = self._queue_s()
            raise refusal(Cause.PUSHED_OUT, "others have had less", delay_s)

    def _give_up(self, waiter: _Waiter) -> None:
        with self._lock:
            if not waiter.turn.is_set():
                self._queue.remove(waiter)
            elif not waiter.is_pushed_out:
                self._hand_on()

    def _queue_s(self) -> float:
        """Return a delay after which all that waits now should have had its turn."""
        return self._delay_s(self._service_s * (len(self._queue) + 1) / self._max_running)

    def _delay_s(self, least_s: float) -> float:
        """Return a delay, drawn so that those turned away together do not return together."""
        return max(_LEAST_DELAY_S, least_s) * (1 + _SPREAD * self._rng.random())
