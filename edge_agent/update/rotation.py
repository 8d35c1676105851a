"""Which bundle takes the next window, and what becomes of those of one that proves bad.

Three threads meet here. The run's thread begins windows, and turns to a new bundle between two of
them. Readers, the keeper and the run's thread finish windows, and any of them may find that a
bundle on trial is bad: the one before takes over at once. The updater offers bundles, waits for
the verdict, and puts the disk and the links in order afterwards.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from edge_agent.loaded import Loaded
from edge_agent.plan import Plan
from edge_agent.running import Running
from edge_agent.sources.frame import Frame
from edge_agent.sources.intake import grouped
from edge_agent.underway import Underway
from edge_agent.update.directive import UpdateFailed
from edge_agent.update.referee import Referee
from edge_agent.update.watch import Watch
from edge_agent.writer import Writer
from headtail.segment import Tensors


class Rotation:
    """The bundle that takes windows, and the one that shall."""

    def __init__(
        self,
        first: Running,
        writer: Writer,
        batch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with one that is trusted.

        Args:
            first: Takes windows until another is offered.
            writer: Ends the run where no bundle can answer.
            batch: Windows of a message at most.
            clock: Monotonic seconds.
        """
        self.writer = writer
        self._batch = batch
        self.tell: Callable[[], None] = _nobody
        """Called, on any thread, when something has changed that the updater waits for."""
        self._clock = clock
        self._lock = threading.Lock()
        self._next: Watch | None = None
        self.watch = self._watched(first, None, None)
        self.verdict: UpdateFailed | Literal[True] | None = None
        """Of the trial under way: True, or why not; None: none yet."""
        self.count_failed: Callable[[str, int], None] = _count_nowhere
        """Told of windows that a bundle could not answer: its digest, and how many."""
        self.answered: Callable[[Loaded, Underway, Tensors], None] = _compare_nothing
        """Told of windows that a bundle answered, and how; takes no time and never raises."""
        self.switch_s = 0.0
        """How long the last turn held the windows up, in seconds."""

    @property
    def active(self) -> Running:
        """The bundle that takes windows."""
        return self.watch.running

    def find_active(self) -> Running:
        """Return the bundle that takes windows."""
        return self.watch.running

    def name_active(self) -> tuple[Plan, str]:
        """Return its plan and digest."""
        loaded = self.watch.running.loaded
        return loaded.plan, loaded.digest

    @property
    def is_trial(self) -> bool:
        """Whether the bundle that takes windows has yet to prove itself."""
        return self.watch.spare is not None

    @property
    def trusted(self) -> Running:
        """The bundle that would take over, or that which takes windows where it is trusted."""
        return self.watch.spare or self.watch.running

    @property
    def trusted_head_s(self) -> float:
        """Median time of its head on a window, in seconds; 0 where none has run."""
        guard = self.trusted.agent.guard
        return guard.head_s if isinstance(guard, Watch) else 0.0

    def trust(self) -> Running | None:
        """Trust the bundle that takes windows; return the one before it."""
        with self._lock:
            before, self.watch.spare = self.watch.spare, None
        return before

    def begin(self, frames: Sequence[Frame]) -> None:
        """Begin windows; called on the run's thread, and between two calls bundles change."""
        if self._next is not None:
            self._turn()
        running = self.watch.running
        for some in grouped(frames, running.loaded.plan.batch(self._batch)):
            running.begin(some)

    def offer(self, running: Running, referee: Referee) -> None:
        """Let a bundle take the windows from the next one on, on trial."""
        with self._lock:
            spare = self.watch.spare or self.watch.running
            self.verdict = None
            self._next = self._watched(running, spare, referee)

    def begin_trial(self, running: Running, referee: Referee) -> None:
        """Do so before the first window: the program was started in the middle of a trial."""
        self.offer(running, referee)
        self._turn()

    def withdraw(self) -> Running:
        """Let the bundle before the one on trial take over; return the one on trial."""
        with self._lock:
            watch = self._judged
            assert watch.spare is not None, "only a bundle on trial is withdrawn"
            self._back(watch)
            self.verdict = None
        return watch.running

    def passed(self, watch: Watch) -> None:
        """Note that enough windows were good."""
        with self._lock:
            if watch is not self._judged or self.verdict is not None:
                return
            self.verdict = True
        self.tell()

    def failed(self, watch: Watch, error: UpdateFailed) -> bool:
        """Go back, unless that has happened already; return whether the bundle is over."""
        with self._lock:
            is_judged = watch is self._judged
            if watch.is_over or watch.spare is None or (is_judged and self.verdict is True):
                return watch.is_over
            if is_judged:
                self.verdict = error
            watch.is_bad = True
            self._back(watch)
        self.tell()
        return True

    @property
    def _judged(self) -> Watch:
        """The bundle that a verdict is about: one that is offered, else that which runs."""
        return self._next or self.watch

    def _turn(self) -> None:
        start_s = self._clock()
        with self._lock:
            if self._next is not None:
                self.watch, self._next = self._next, None
        self.switch_s = self._clock() - start_s
        self.tell()

    def _back(self, watch: Watch) -> None:
        """Make the spare take windows; with the lock held."""
        assert watch.spare is not None, "checked by the callers"
        watch.is_over = True
        if self._next is watch:
            self._next = None
        if self.watch is watch:
            guard = watch.spare.agent.guard
            assert isinstance(guard, Watch), "every bundle of a rotation is watched"
            self.watch = guard

    def _watched(self, running: Running, spare: Running | None, referee: Referee | None) -> Watch:
        watch = Watch(self, running, spare, referee)
        running.agent.guard = watch
        return watch


def _nobody() -> None:
    """Tell nobody: there is no updater yet."""


def _count_nowhere(digest: str, windows: int) -> None:
    """Count nothing: nobody reports yet."""


def _compare_nothing(loaded: Loaded, work: Underway, outputs: Tensors) -> None:
    """Compare with nothing: nobody has asked yet."""
