"""Grouped commits on a thread of their own: neither the source nor the fog waits for the disk."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from edge_agent.plan import Plan
from edge_agent.result import Result
from edge_agent.sources.frame import Frame
from edge_agent.spool import Change, Spool
from edge_agent.spool_entry import Packer
from headtail.segment import Tensors

log = logging.getLogger(__name__)

SAY_AGAIN_S = 300.0
"""Shortest time between two lines that say that windows are dropped."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a group is committed, and what happens to a spool that is full."""

    windows: int = 32
    """A group of so many is committed at once."""
    delay_s: float = 0.01
    """A smaller one when its first window has waited so long."""
    max_bytes: int = 256 << 20
    """Of the payloads together."""
    max_age_s: float = 0.0
    """Of a window, where `when_full` drops; 0: any."""
    when_full: Literal["stop", "drop"] = "stop"
    """Stop the source until there is room, or give up the oldest windows and count them."""


class DurableSink(Protocol):
    """A sink that can say what is on the disk."""

    def sync(self) -> int:
        """Put on the disk all that was taken; return the size of the file up to there."""
        ...


class Order(Protocol):
    """Whoever holds results back until their windows are committed; the writer."""

    @property
    def taking(self) -> int:
        """Sequence below which results are in the sink, or on their way into it."""
        ...

    def allow(self, stop: float) -> None:
        """Let windows with a sequence below `stop` be taken."""
        ...

    def skip(self, stop: int) -> range:
        """Give up the windows below `stop` that are not taken; return which."""
        ...

    def fail(self, error: BaseException) -> None:
        """End the run."""
        ...


class Committer:
    """Takes windows from the run's thread and results from the writer's, and commits both."""

    def __init__(
        self,
        spool: Spool,
        packer: Packer,
        sink: DurableSink,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            spool: Begun.
            packer: Makes entries, on the committer's thread.
            sink: Synced before the windows whose results it has are forgotten.
            limits: Groups, room and policy.
            clock: The wall's, in seconds since 1970.
        """
        self._spool = spool
        self._packer = packer
        self._sink = sink
        self._limits = limits
        self._lock = threading.Condition()
        self._queue: list[tuple[Packer, Sequence[Frame], Tensors, Plan | None]] = []
        self._queued_windows = self._queued_bytes = 0
        self._taken = self._removed = 0
        self._is_urgent = self._is_closed = False
        self._error: BaseException | None = None
        self._order: Order
        self._clock = clock
        self.dropped = 0
        self._said_s = -math.inf
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self, order: Order, first: int) -> None:
        """Begin to commit; `order` waits for the windows from sequence `first` on."""
        self._order = order
        order.allow(first)
        self._thread.start()

    def put(self, frames: Sequence[Frame], activation: Tensors, plan: Plan | None = None) -> None:
        """Hand over windows that went through the head together; waits only for room.

        Args:
            frames: The windows.
            activation: Theirs.
            plan: Under which the head ran; None: the one that the run began with.

        Raises:
            SpoolError: Why the last commit failed.
        """
        self.put_under(self._packer, frames, activation, plan)

    def put_under(
        self,
        packer: Packer,
        frames: Sequence[Frame],
        activation: Tensors,
        plan: Plan | None = None,
    ) -> None:
        """Hand over windows of another bundle than the one that the run began with.

        Raises:
            SpoolError: Why the last commit failed.
        """
        size = packer.size(frames, plan)
        with self._lock:
            if self._limits.when_full == "stop" and not self._fits(size):
                self._wait_for_room(size)
            if self._error:
                raise self._error
            self._queue.append((packer, frames, activation, plan))
            self._queued_windows += len(frames)
            self._queued_bytes += size
            if len(self._queue) == 1 or self._queued_windows >= self._limits.windows:
                self._lock.notify_all()

    def take(self, results: Sequence[Result]) -> None:
        """Note that results are in the sink; their windows go with the next commit."""
        self._taken = results[-1].sequence + 1

    def flush(self) -> None:
        """Commit what is there without waiting for more."""
        with self._lock:
            self._is_urgent = True
            self._lock.notify_all()

    def close(self) -> None:
        """Commit all, and end the thread.

        Raises:
            SpoolError: If that failed.
        """
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        if self._error:
            raise self._error

    def _fits(self, size: int) -> bool:
        held = self._spool.bytes + self._queued_bytes
        return not held or held + size <= self._limits.max_bytes

    def _wait_for_room(self, size: int) -> None:
        """Wait until results have made room; each commit forgets the windows they answer."""
        while not (self._fits(size) or self._error):
            self._is_urgent = True
            self._lock.notify_all()
            self._lock.wait(self._limits.delay_s)

    def _run(self) -> None:
        try:
            while self._wait():
                self._commit()
            self._commit()
        except BaseException as error:  # noqa: BLE001 - raised again in the run's thread
            with self._lock:
                self._error = error
                self._lock.notify_all()
            self._order.fail(error)

    def _wait(self) -> bool:
        """Wait until a group is to be committed; return False at the end."""
        with self._lock:
            self._lock.wait_for(lambda: self._queue or self._is_urgent or self._is_closed)
            self._lock.wait_for(
                lambda: (
                    self._queued_windows >= self._limits.windows
                    or self._is_urgent
                    or self._is_closed
                ),
                self._limits.delay_s,
            )
            return not self._is_closed

    def _commit(self) -> None:
        with self._lock:
            batch, self._queue = self._queue, []
            self._queued_windows = 0
            self._is_urgent = False
            taken, queued_bytes = self._taken, self._queued_bytes
        entries = [
            entry
            for packer, frames, tensors, plan in batch
            for entry in packer.pack(frames, tensors, plan)
        ]
        # What the spool forgets must be on the sink's disk first.
        sink_bytes = self._sink.sync() if taken > self._removed else None
        if entries or taken > self._removed:
            self._spool.commit(Change(entries, taken, sink_bytes))
        self._drop()
        with self._lock:
            self._removed = taken
            self._queued_bytes -= queued_bytes
            self._lock.notify_all()
        if entries:
            self._order.allow(entries[-1].sequence + 1)

    def _drop(self) -> None:
        """Give up the oldest windows where the spool is full or they are too old."""
        if self._limits.when_full == "stop":
            return
        max_age_s = self._limits.max_age_s
        oldest_s = self._clock() - max_age_s if max_age_s else -math.inf
        stop = self._spool.surplus(self._limits.max_bytes, oldest_s, self._order.taking)
        dropped = self._order.skip(stop) if stop else range(0)
        if dropped:
            self._spool.commit(Change(dropped=dropped))
            self.dropped += len(dropped)
            self._say_dropped(dropped)

    def _say_dropped(self, dropped: range) -> None:
        """Log that windows are dropped: once, and again while it goes on; metrics count them."""
        now_s = self._clock()
        if now_s - self._said_s >= SAY_AGAIN_S:
            self._said_s = now_s
            log.warning(
                "spool full: %d windows from %d dropped, %d since the start",
                len(dropped), dropped.start, self.dropped,
            )  # fmt: skip
