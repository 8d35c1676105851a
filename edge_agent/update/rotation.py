"""Which bundle takes the next window, and what becomes of those of one that proves bad.

Three threads meet here. The run's thread begins windows, and turns to a new bundle between two of
them. Readers, the keeper and the run's thread finish windows, and any of them may find that a
bundle on trial is bad: the one before takes over at once. The updater offers bundles, waits for
the verdict, and puts the disk and the links in order afterwards.
"""

import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from edge_agent.plan import Plan
from edge_agent.running import Running
from edge_agent.sources.frame import Frame
from edge_agent.sources.intake import grouped
from edge_agent.underway import Finish, Underway
from edge_agent.update.directive import UpdateFailed
from edge_agent.update.referee import Referee
from edge_agent.writer import Writer
from headtail.errors import ModelNotFound, RemoteError
from headtail.fault import Fault
from headtail.segment import Tensors

log = logging.getLogger(__name__)

HEADS = 64
"""Windows over which the time of a head is taken."""
OTHER_REASON = "failed"


class Watch:
    """The guard of one bundle's agent: on trial until its referee is satisfied, then trusted."""

    def __init__(
        self, rotation: "Rotation", running: Running, spare: Running | None, referee: Referee | None
    ) -> None:
        """Watch `running`.

        Args:
            rotation: Told of the verdict.
            running: The bundle.
            spare: Takes over where it is bad; None: nobody can.
            referee: Judges its first windows; None: it is trusted already.
        """
        self.running = running
        self.spare = spare
        self.is_over = False
        """Whether it takes no window any more, and answers none."""
        self.is_bad = False
        """Whether that is its own fault."""
        self._is_refused = False
        self.heads_s: deque[float] = deque(maxlen=HEADS)
        self._rotation = rotation
        self._referee = referee
        self._lock = threading.Lock()

    @property
    def head_s(self) -> float:
        """Median time of its head on a window, in seconds; 0 where none has run yet."""
        heads_s = list(self.heads_s)
        return statistics.median(heads_s) if heads_s else 0.0

    def allow(self, work: Underway, outputs: Tensors, finish: Finish) -> bool:
        """Judge windows that are finished; hand those over that are not to be believed."""
        if self.is_over:
            self._hand_over(work)
            return False
        windows = len(work.frames)
        self.heads_s.append(work.head_s / windows)
        referee = self._referee
        if referee is None or referee.has_enough():
            return True
        with self._lock:
            is_failed = finish.fallback == OTHER_REASON
            reason = referee.judge(outputs, windows, work.head_s, is_failed=is_failed)
        if reason is None:
            if referee.has_enough():
                self._rotation.passed(self)
            return True
        if not self.fail(UpdateFailed(Fault.FIRST_WINDOWS, reason)):
            return True
        self._hand_over(work)
        return False

    def give_back(self, work: Underway, fault: Exception | None) -> None:
        """Let the bundle before answer windows that this one cannot, or shall not."""
        if fault is not None and not self.is_over:
            text = " ".join(f"{type(fault).__name__}: {fault}".split())
            if not self.fail(UpdateFailed(Fault.FIRST_WINDOWS, text[:300])):
                self._rotation.writer.fail(fault)
                return
        self._hand_over(work)

    def refused(self, error: RemoteError) -> None:
        """Note that no fog serves this bundle: its windows are finished here.

        A fog that has never heard of it may hear of it later; one that will not take what this
        bundle sends, NaN for one, never will. A link's lock is held: nothing waits here.
        """
        fault = Fault.LINK if isinstance(error, ModelNotFound) else Fault.FIRST_WINDOWS
        if not self.fail(UpdateFailed(fault, str(error))) and not self._is_refused:
            self._is_refused = True
            log.warning("%s; finishing on the edge until a fog or an update helps", error)

    def fail(self, error: UpdateFailed) -> bool:
        """End the trial: from this moment on the bundle before takes the windows.

        False where the bundle is trusted already.
        """
        return self._rotation.failed(self, error)

    def _hand_over(self, work: Underway) -> None:
        """Let the bundle before answer; both take the same inputs."""
        assert self.spare is not None, "a bundle that is over has one before it"
        if self.is_bad:
            self._rotation.count_failed(self.running.loaded.digest, len(work.frames))
        try:
            self.spare.agent.finish(work)
        except Exception as fault:  # noqa: BLE001 - the border to onnxruntime; the run's thread ends
            self._rotation.writer.fail(fault)


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
        plan, _, digest = self.watch.running.loaded
        return plan, digest

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
