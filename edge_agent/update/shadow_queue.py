"""Windows that wait to be run through another bundle too: what is asked for, and how much of it."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from edge_agent.loaded import Loaded
from edge_agent.sources.frame import Frame
from edge_agent.underway import Underway
from headtail.bundle import Manifest
from headtail.segment import Tensors

MAX_WAITING = 32
"""Windows that wait to be run again; more are left out."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which answers to compare with whose."""

    runs: str
    """Digest of the bundle whose answers they are."""
    name: str
    """Of both bundles."""
    other: str
    """Digest of the other one."""
    ratio: float
    """Share of the windows, above 0."""


class Outcome(StrEnum):
    """What became of a window that was to be run again."""

    AGREED = "agreed"
    DIFFERED = "differed"
    FAILED = "failed"
    """The other bundle gave no answer, which says nothing about the one that runs."""
    DROPPED = "dropped"
    """There was no room for it."""


@dataclass(frozen=True, slots=True)
class Job:
    """Windows that were answered together, and those of them to run again."""

    manifest: Manifest
    frames: list[Frame]
    outputs: Tensors
    chosen: list[int]


class ShadowQueue:
    """Takes windows aside while somebody asks for it; several threads offer, one takes."""

    def __init__(self, max_ratio: float, turned: Callable[[], None]) -> None:
        """Begin with nothing asked for.

        Args:
            max_ratio: Largest share of windows that is taken aside.
            turned: Called, with the lock held, when something else is asked for, or nothing.
        """
        self.counts: Counter[Outcome] = Counter()
        """Windows by what became of them."""
        self.lock = threading.Condition()
        self._max_ratio = max_ratio
        self._turned = turned
        self._told: Comparison | None = None
        self._asked: Comparison | None = None
        """What is told, until it is given up."""
        self._jobs: deque[Job] = deque()
        self._waiting = 0
        self._owed = 0.0
        self._is_closed = False

    def ask(self, comparison: Comparison | None) -> None:
        """Compare so from now on, or not at all; on any thread."""
        if comparison is not None:
            ratio = min(comparison.ratio, self._max_ratio)
            comparison = replace(comparison, ratio=ratio) if ratio > 0 else None
        with self.lock:
            if comparison != self._told and not self._is_closed:
                self._told = comparison
                self._turn_to(comparison)

    def offer(self, loaded: Loaded, work: Underway, outputs: Tensors) -> None:
        """Take note of windows that a bundle answered; on any thread, and at once."""
        asked = self._asked
        if asked is None or asked.runs != loaded.digest or not work.frames[0].tensors:
            return
        windows = len(work.frames)
        with self.lock:
            if self._asked is not asked:
                return
            chosen = [i for i in range(windows) if self._is_due(asked.ratio)]
            if not chosen:
                return
            if self._jobs and self._waiting + windows > MAX_WAITING:
                self.counts[Outcome.DROPPED] += len(chosen)
                return
            manifest = loaded.plan.manifest
            self._jobs.append(Job(manifest, list(work.frames), outputs, chosen))
            self._waiting += windows
            self.lock.notify_all()

    def next(self) -> Comparison | None:
        """Wait for something to compare; None: there will be nothing any more."""
        with self.lock:
            self.lock.wait_for(lambda: self._asked or self._is_closed)
            return None if self._is_closed else self._asked

    def take(self, asked: Comparison) -> Job | None:
        """Wait for windows; None: something else is asked for."""
        with self.lock:
            self.lock.wait_for(lambda: self._jobs or self._asked is not asked)
            if self._asked is not asked:
                return None
            job = self._jobs.popleft()
            self._waiting -= len(job.frames)
            return job

    def rest(self, asked: Comparison, seconds: float) -> None:
        """Sleep, unless something else is asked for."""
        with self.lock:
            self.lock.wait_for(lambda: self._asked is not asked, seconds)

    def is_over(self, asked: Comparison) -> bool:
        """Return whether something else is asked for, or nothing."""
        return self._asked is not asked

    def give_up(self, asked: Comparison) -> None:
        """Take nothing aside until something else is asked for."""
        with self.lock:
            if self._asked is asked:
                self._turn_to(None)

    def close(self) -> None:
        """Take nothing aside any more."""
        with self.lock:
            self._is_closed = True
            self._turn_to(None)

    def _is_due(self, ratio: float) -> bool:
        self._owed += ratio
        if self._owed < 1:
            return False
        self._owed -= 1
        return True

    def _turn_to(self, comparison: Comparison | None) -> None:
        """Forget what waits; with the lock held."""
        self._asked = comparison
        self._jobs.clear()
        self._waiting, self._owed = 0, 0.0
        self._turned()
        self.lock.notify_all()
