"""Results back in the source's order, and on to whoever wants them.

Whoever brings a result hands it on itself where that waits for nothing: a change of threads costs
more. Otherwise a thread of the writer's own does it: a slow sink thus delays neither the replies
nor the deadlines; it fills the room for windows under way, and then the source waits.
"""

import math
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_agent.result import Result


class Taker(Protocol):
    """Someone who wants every result, in order."""

    def take(self, results: Sequence[Result]) -> None:
        """Take the next results; called on any thread, but on one at a time."""
        ...


def _never(results: Sequence[Result]) -> bool:
    """Leave all to the writer's thread."""
    return False


class Writer:
    """Orders results by sequence and bounds how many windows are under way."""

    def __init__(
        self,
        takers: Sequence[Taker],
        room: int,
        first: int = 0,
        is_prompt: Callable[[Sequence[Result]], bool] = _never,
    ) -> None:
        """Start.

        Args:
            takers: Called in this order with each run of results.
            room: Windows that may be under way: begun and not yet taken.
            first: Sequence of the first window.
            is_prompt: Whether the takers would take these results now without waiting.
        """
        self._takers = takers
        self._room = room
        self._is_prompt = is_prompt
        lock = threading.Lock()
        self._lock = lock
        # The writer's thread waits for results, all others for room or for the end.
        self._arrival, self._progress = threading.Condition(lock), threading.Condition(lock)
        self._waiting = 0
        self._done: dict[int, Result] = {}
        self._skipped: set[int] = set()
        self._given_up = first  # sequence below which all that were not taken are skipped
        # Sequences: of the next window to be begun, to be taken, and being taken.
        self._reserved = self._written = self._taking = first
        self._is_taking = self._is_broken = False
        self._ready: list[Result] = []  # collected, for the writer's thread
        self._first = first
        self._allowed = math.inf
        self._is_closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def underway(self) -> int:
        """Windows begun and not yet taken."""
        return self._reserved - self._written

    @property
    def written(self) -> int:
        """Windows taken since the start."""
        return self._written - self._first

    @property
    def taking(self) -> int:
        """Sequence below which results are taken, or are just being taken."""
        return self._taking

    def allow(self, stop: float) -> None:
        """Let windows with a sequence below `stop` be taken, and no others; at first all may."""
        with self._lock:
            self._allowed = stop
            self._arrival.notify()

    def jump(self, sequence: int) -> None:
        """Go on with that sequence once all before it are taken: those between do not exist."""
        self.drain()
        with self._lock:
            self._first += sequence - self._written  # what never was is not counted
            self._reserved = self._written = self._taking = sequence

    def skip(self, stop: int) -> range:
        """Give up the windows below `stop` that are not taken; return which are so only now."""
        with self._lock:
            first = max(self._taking, self._given_up)
            skipped = range(first, max(first, min(stop, self._reserved)))
            self._skipped.update(skipped)
            self._given_up = skipped.stop
            self._arrival.notify()
        return skipped

    def reserve(self, windows: int) -> None:
        """Wait for room for the next windows.

        Raises:
            HeadtailError: What a taker raised, in another thread, some time before.
        """
        with self._lock:
            if self._reserved + windows - self._written > self._room:
                self._wait(lambda: self._reserved + windows - self._written <= self._room)
            if self._error:
                raise self._error
            self._reserved += windows

    def release(self, windows: int) -> None:
        """Give back the last reservation: its windows will never be done."""
        with self._lock:
            self._reserved -= windows
            self._progress.notify_all()

    def fail(self, error: BaseException) -> None:
        """Make `reserve` and `drain` raise `error`: a window under way cannot be finished."""
        with self._lock:
            self._error = self._error or error
            self._progress.notify_all()

    def add(self, results: Sequence[Result]) -> None:
        """Hand over finished windows, in any order, from any thread."""
        with self._lock:
            for result in results:
                if result.sequence >= self._taking:  # not one given up, whose turn is over
                    self._done[result.sequence] = result
            if self._is_taking or not self._can_take():
                return  # whoever takes now looks again
            self._is_taking = True
            ready = self._collect()
        if not ready or self._is_prompt(ready):
            self._give(ready)
            return
        with self._lock:
            self._ready = ready
            self._arrival.notify()

    def drain(self) -> None:
        """Wait until every window with a reservation has been taken.

        Raises:
            HeadtailError: What a taker raised.
        """
        with self._lock:
            self._wait(lambda: self._written == self._reserved)
            if self._error:
                raise self._error

    def close(self) -> None:
        """End the thread; what waits in order is taken first."""
        with self._lock:
            self._is_closed = True
            self._arrival.notify()
        self._thread.join()

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition or an error; with the lock held."""
        self._waiting += 1
        self._progress.wait_for(lambda: self._error or condition())
        self._waiting -= 1

    def _run(self) -> None:
        while True:
            with self._lock:
                self._arrival.wait_for(self._has_turn)
                if not self._ready and not self._can_take():
                    return
                self._is_taking = True
                ready, self._ready = [*self._ready, *self._collect()], []
            self._give(ready)

    def _has_turn(self) -> bool:
        """Whether there is something for the writer's thread to do; with the lock held."""
        return bool(self._ready) or (not self._is_taking and (self._is_closed or self._can_take()))

    def _give(self, ready: Sequence[Result]) -> None:
        """Hand results on; nobody else does so meanwhile."""
        try:
            for taker in self._takers if ready else ():
                taker.take(ready)
        except BaseException as error:  # noqa: BLE001 - raised again in the run's thread
            self._is_broken = True
            self.fail(error)
        with self._lock:
            self._is_taking = False
            if not self._is_broken:
                self._written = self._taking
            if self._waiting:
                self._progress.notify_all()
            if self._is_closed or self._can_take():
                self._arrival.notify()

    def _can_take(self) -> bool:
        """Whether the next window in order is done and allowed; with the lock held."""
        is_over = self._written in self._done or self._written in self._skipped
        return is_over and self._written < self._allowed and not self._is_broken

    def _collect(self) -> list[Result]:
        """Return the results that are next in order; with the lock held."""
        ready = []
        while self._taking < self._allowed:
            result = self._done.pop(self._taking, None)
            if self._taking in self._skipped:
                self._skipped.discard(self._taking)
            elif result is not None:
                ready.append(result)
            else:
                break
            self._taking += 1
        return ready
