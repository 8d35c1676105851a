"""The guard of one bundle's agent: what becomes of each window, and whether the bundle is good."""

import logging
import statistics
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from edge_agent.loaded import Loaded
from edge_agent.result import FAILED
from edge_agent.running import Running
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


class Court(Protocol):
    """Whoever hears of verdicts, and lets the bundle before take over."""

    writer: Writer
    count_failed: Callable[[str, int], None]
    """Told of windows that a bundle could not answer: its digest, and how many."""
    answered: Callable[[Loaded, Underway, Tensors], None]
    """Told of windows that a bundle answered, and how; takes no time and never raises."""

    def passed(self, watch: "Watch") -> None:
        """Note that enough windows were good."""
        ...

    def failed(self, watch: "Watch", error: UpdateFailed) -> bool:
        """Go back, unless that has happened already; return whether the bundle is over."""
        ...


class Watch:
    """The guard of one bundle's agent: on trial until its referee is satisfied, then trusted."""

    def __init__(
        self, court: Court, running: Running, spare: Running | None, referee: Referee | None
    ) -> None:
        """Watch `running`.

        Args:
            court: Told of the verdict.
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
        self._court = court
        self._referee = referee
        self._lock = threading.Lock()

    @property
    def head_s(self) -> float:
        """Median time of its head on a window, in seconds; 0 where none has run yet."""
        heads_s = list(self.heads_s)
        return statistics.median(heads_s) if heads_s else 0.0

    def allow(self, work: Underway, outputs: Tensors, finish: Finish) -> bool:
        """Judge windows that are finished; hand those over that are not to be believed."""
        is_allowed = self._judge(work, outputs, finish)
        if is_allowed:
            self._court.answered(self.running.loaded, work, outputs)
        return is_allowed

    def _judge(self, work: Underway, outputs: Tensors, finish: Finish) -> bool:
        if self.is_over:
            self._hand_over(work)
            return False
        windows = len(work.frames)
        # Heads of several points are held to one measure.
        loaded = self.running.loaded
        head_s = loaded.first_head_s(work.plan.point.index, work.head_s)
        self.heads_s.append(head_s / windows)
        referee = self._referee
        if referee is None or referee.has_enough():
            return True
        with self._lock:
            is_failed = finish.fallback == FAILED
            reason = referee.judge(outputs, windows, head_s, is_failed=is_failed)
        if reason is None:
            if referee.has_enough():
                self._court.passed(self)
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
                self._court.writer.fail(fault)
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
        return self._court.failed(self, error)

    def _hand_over(self, work: Underway) -> None:
        """Let the bundle before answer; both take the same inputs."""
        assert self.spare is not None, "a bundle that is over has one before it"
        if self.is_bad:
            self._court.count_failed(self.running.loaded.digest, len(work.frames))
        try:
            self.spare.agent.finish(work)
        except Exception as fault:  # noqa: BLE001 - the border to onnxruntime; the run's thread ends
            self._court.writer.fail(fault)
