"""Tails that are watched while a canary runs, and windows run through both bundles.

Of a window that comes at partition point k the fog has only the activation. The canary's tail can
take it where both bundles have the very same segments before k, as after fine-tuning behind a
frozen head, or at point 0, where the activation is the model's input. Elsewhere only an agent,
which has the window, can compare; agents that run the canary do, and report it.

Without a canary no tail is watched, and nothing here is on the path of a request.
"""

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields

from fog_server.rollout.database import TailCounts
from fog_server.tail import Tail
from headtail.agreement import count_agreed, is_comparable
from headtail.bundle import Manifest
from headtail.tensor import Array

log = logging.getLogger(__name__)

MAX_WAITING = 16
"""Requests that wait to be run again; more are left out."""
_NICE = 10


def shared_points(active: Manifest, canary: Manifest) -> frozenset[int]:
    """Return the partition points at which either tail can take the other's activation."""
    if not is_comparable(active, canary):
        return frozenset()
    points = set()
    for point in range(min(len(active.segments), len(canary.segments))):
        if active.points[point].activation == canary.points[point].activation:
            points.add(point)
        if active.segments[point].member.sha256 != canary.segments[point].member.sha256:
            break
    return frozenset(points)


class Watch:
    """Counts what one bundle's tails do, and takes a share of its windows aside."""

    def __init__(self, ratio: float, offer: Callable[["Job"], None]) -> None:
        """Give a share of the windows to `offer`."""
        self._ratio = ratio
        self._offer = offer
        self._lock = threading.Lock()
        self._owed = 0.0
        self._counts = TailCounts()

    def ended(self, windows: int, *, is_failed: bool) -> bool:
        """Count a request; return whether it is one to run again."""
        with self._lock:
            self._counts = self._counts.plus(TailCounts(windows, windows if is_failed else 0))
            if is_failed:
                return False
            self._owed += self._ratio * windows
            if self._owed < windows:
                return False
            self._owed -= windows
            return True

    def offer(self, job: "Job") -> None:
        """Take a request aside."""
        self._offer(job)

    def compared(self, windows: int, agreed: int) -> None:
        """Count windows that were run again."""
        with self._lock:
            self._counts = self._counts.plus(TailCounts(0, 0, windows, agreed))

    def take(self) -> TailCounts:
        """Return what was counted since the last time."""
        with self._lock:
            counts, self._counts = self._counts, TailCounts()
            return counts


@dataclass(frozen=True, slots=True)
class WatchedTail(Tail):
    """A tail that tells of every request; `other` runs some of them again."""

    watch: Watch
    other: Tail | None = None
    """The same point of the canary, where it can take this activation."""
    counter: Watch | None = None
    """Of the canary."""

    def run(self, activation: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the model's outputs by name."""
        windows = self.windows(activation)
        try:
            outputs = Tail.run(self, activation)
        except BaseException:
            self.watch.ended(windows, is_failed=True)
            raise
        is_chosen = self.watch.ended(windows, is_failed=False)
        if is_chosen and self.other is not None and self.counter is not None:
            self.watch.offer(Job(self.other, self.counter, activation, outputs))
        return outputs


@dataclass(frozen=True, slots=True)
class Job:
    """A request to run again."""

    tail: Tail
    counter: Watch
    activation: Mapping[str, Array]
    expected: Mapping[str, Array]


def watched(tail: Tail, watch: Watch, other: Tail | None, counter: Watch | None) -> WatchedTail:
    """Return a tail that is watched."""
    values = {field.name: getattr(tail, field.name) for field in fields(Tail)}
    return WatchedTail(**values, watch=watch, other=other, counter=counter)


class Shadows:
    """A thread that runs requests again; it falls behind rather than hold anybody up."""

    def __init__(self, dropped: Callable[[], None]) -> None:
        """Start; `dropped` hears of each request that found no room."""
        self._dropped = dropped
        self._jobs: queue.Queue[Job | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
        self._thread.start()

    def offer(self, job: Job) -> None:
        """Run a request again when there is time, if there is."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._dropped()

    def close(self) -> None:
        """Stop after the request that runs."""
        while self._thread.is_alive():
            try:
                self._jobs.put(None, timeout=0.1)
            except queue.Full:
                continue
            self._thread.join()

    def _run(self) -> None:
        with suppress(OSError):  # of this thread alone: requests come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (job := self._jobs.get()) is not None:
            windows = job.tail.windows(job.activation)
            try:
                actual = Tail.run(job.tail, job.activation)
                windows, agreed = count_agreed(job.tail.chain.manifest, job.expected, actual)
            except Exception as error:  # noqa: BLE001 - a main loop; it is the canary that failed
                log.warning("%s %s: a shadowed window failed: %s",
                            job.tail.name, job.tail.version, error)  # fmt: skip
                agreed = 0
            job.counter.compared(windows, agreed)
