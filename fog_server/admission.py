"""Admission: which requests run, which wait, in which batches, and which are turned away."""

import logging
import random
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from fog_server.batcher_crew import Crew
from fog_server.batcher_queue import NEVER_S, BatchQueue
from fog_server.batcher_work import BatchWork, Work
from fog_server.refusal import Cause, expiry, refusal
from fog_server.service_times import ServiceTimes
from headtail.errors import HeadtailError

log = logging.getLogger(__name__)
Clock = Callable[[], float]
POLL_S = 0.01
"""How often it is looked for what has expired, while anything waits."""
STUCK_S = 0.02
"""How long answers may take to leave before another batch runs in their place."""
_PATIENCE = 100  # looks without anything that waits, after which there are none
_LEAST_DELAY_S = 0.01
_SPREAD = 0.5  # those turned away together come back over this share of their delay


@dataclass(slots=True, eq=False)
class Slot:
    """The right to run one batch."""

    model: Hashable
    requests: int
    batch: Sequence[Work] = ()
    """What waited, or is answered in order; empty where the holder keeps it to itself."""
    began_s: float | None = None
    """When the run began."""
    answers_since_s: float = NEVER_S
    """When the batch had run and its answers began to leave."""


@dataclass(slots=True, eq=False)
class _Turn(Work):
    """A request whose own thread waits, and does the work."""

    turn: threading.Event = field(default_factory=threading.Event)
    slot: Slot | None = None
    error: HeadtailError | None = None

    def begin(self, slot: Slot) -> None:
        """Let the thread run."""
        self.slot = slot
        self.turn.set()

    def refuse(self, error: HeadtailError) -> None:
        """Send the thread away."""
        self.error = error
        self.turn.set()


class Admission:
    """Lets at most `max_running` batches run and `max_queued` requests wait; agents take turns.

    When the queue is full, a newcomer takes the place of what would run last, if its own turn would
    come before: nobody can keep the others out by asking more.
    """

    def __init__(
        self,
        max_running: int,
        max_queued: int,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
        *,
        max_queued_bytes: float = NEVER_S,
    ) -> None:
        """Start empty; `clock` is in seconds, `rng` spreads the delays told."""
        self._max_running = max_running
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - no secret
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._slots: set[Slot] = set()
        self._queue: BatchQueue[Work] = BatchQueue(max_queued, max_queued_bytes)
        self._times = ServiceTimes(max_running)
        self.is_brief = self._times.is_brief
        self._crew = Crew()
        self._has_timer = self._is_closed = False
        self._wakes_s = NEVER_S

    @property
    def running(self) -> int:
        """Batches that run now."""
        return len(self._slots)

    @property
    def queued(self) -> int:
        """Requests that wait now."""
        return len(self._queue)

    def waiting(self, level: int) -> int:
        """Return how many requests of a priority level wait now."""
        return self._queue.waiting(level)

    def submit(self, work: Work, remaining_s: float | None, *, here: bool = False) -> None:
        """Have a request run and answered, or refused, once; it may be over before this returns.

        Args:
            work: What is to be run.
            remaining_s: Seconds until the answer is worth nothing; None means no deadline.
            here: Whether this thread may run it itself, where it need not wait.

        Raises:
            Overloaded: If as many wait already as may, or its turn would come too late.
            DeadlineExceeded: If no time is left to it.
        """
        slot = self._enter(work, remaining_s, here=here)
        if slot is None:
            return
        if here:
            self._run(slot)
            self.leave(slot)
        else:
            self._crew.give(partial(self._run_on, slot))

    def start(self, model: Hashable, requests: int) -> Slot | None:
        """Take a slot for a batch that this thread runs at once, or return None.

        There is none where all are busy or anything waits. What is to run must be ripe, and free to
        be answered in any order. `ran` and `leave` must follow.
        """
        with self._lock:
            if self._queue.count or len(self._slots) >= self._max_running:
                return None
            slot = Slot(model, requests, (), self._clock())
            self._slots.add(slot)
            return slot

    def ran(self, slot: Slot) -> None:
        """Note that the batch of a slot has run, and its answers begin to leave."""
        slot.answers_since_s = self._clock()

    @contextmanager
    def slot(
        self, remaining_s: float | None = None, agent: str = "", windows: int = 1
    ) -> Iterator[None]:
        """Hold one of the slots, after waiting for it, for work that is no model's.

        Args:
            remaining_s: Seconds until the answer is worth nothing; None means no deadline.
            agent: Whose request it is.
            windows: How many windows it holds.

        Raises:
            Overloaded: If as many wait already as may, or its turn would come too late.
            DeadlineExceeded: If the deadline passes first; the work is then not worth starting.
        """
        turn = _Turn(agent, windows)
        slot = self._enter(turn, remaining_s, here=True) or self._await(turn, remaining_s)
        slot.began_s = self._clock()
        try:
            yield
        finally:
            self.leave(slot)

    def leave(self, slot: Slot, *, keeps: bool = False) -> Slot | None:
        """Give a slot back and begin what may run now.

        Args:
            slot: Whose batch is answered.
            keeps: Whether this thread would run another batch itself; its slot is returned.
        """
        now_s = self._clock()
        with self._lock:
            self._slots.discard(slot)
            if slot.batch:
                self._queue.end(slot.batch)
            if slot.began_s is not None:
                run_s = slot.answers_since_s - slot.began_s
                self._times.learn(
                    slot.model,
                    slot.requests,
                    now_s - slot.began_s,
                    run_s if run_s < NEVER_S else None,
                )
            if not self._queue.count:
                return None
            kept = self._dispatch(now_s, keeps=keeps)
            self._call_timer(now_s)
            return kept

    def close(self) -> None:
        """Let every thread end."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        self._crew.close()

    def _enter(self, work: Work, remaining_s: float | None, *, here: bool) -> Slot | None:
        """Let a request run, and return its slot, or let it wait."""
        if remaining_s is not None and remaining_s <= 0:
            raise expiry(Cause.EXPIRED_ON_WAY, remaining_s)
        with self._wake:
            work.arrived_s = now_s = self._clock()
            if self._may_start(work, here=here):
                self._queue.begin([work])
                return self._take_slot(work.model, 1, [work])
            work.times_out_s = now_s + work.patience_s
            if remaining_s is not None:
                self._check_time(work, remaining_s)
                work.allowed_s = remaining_s
                work.expires_s = now_s + remaining_s - self._times.batch_s(work.model)
            left = self._queue.add(work)
            self._push_out([other for other in left if other is not work])
            if work in left:
                reason = f"{len(self._queue)} requests wait"
                raise refusal(Cause.QUEUE_FULL, reason, self._queue_s())
            self._dispatch(now_s)
            self._call_timer(now_s)
        return None

    def _may_start(self, work: Work, *, here: bool) -> bool:
        """Return whether a request runs at once, since nothing waits."""
        return (
            len(self._slots) < self._max_running
            and not self._queue.count
            and (here or not self._is_freed_soon())
            and self._queue.is_ripe(work)
            and not self._queue.is_held(work)
        )

    def _check_time(self, work: Work, remaining_s: float) -> None:
        """Turn away what cannot be answered in time while its sender can still do without."""
        expected_s = self._times.expected_s(work.model, self._queue.ahead(work))
        if expected_s > remaining_s:
            reason = f"expected to take {expected_s:.3f} s of {remaining_s:.3f} s"
            raise refusal(Cause.TOO_SLOW, reason, self._delay_s(expected_s - remaining_s))

    def _push_out(self, left: Sequence[Work]) -> None:
        if left:
            reason, delay_s = "others have had less", self._queue_s()
            errors = [(w, refusal(Cause.PUSHED_OUT, reason, delay_s)) for w in left]
            self._crew.give(partial(_refuse, errors))

    def _take_slot(self, model: Hashable, requests: int, batch: Sequence[Work] = ()) -> Slot:
        slot = Slot(model, requests, batch)
        self._slots.add(slot)
        return slot

    def _is_freed_soon(self) -> bool:
        """Return whether what waits is better left to a thread that runs than given to another."""
        return any(self._times.is_brief(slot.model) for slot in self._slots)

    def _dispatch(self, now_s: float, *, keeps: bool = False, hurries: bool = False) -> Slot | None:
        """Begin what may run now; drop what has expired first.

        Args:
            now_s: The time.
            keeps: Whether this thread would run one batch itself; that is returned.
            hurries: Whether to use every slot, however soon another is free.
        """
        if dropped := self._queue.drop(now_s):
            errors = [(work, expiry(cause, work.waited_s(cause))) for work, cause in dropped]
            self._crew.give(partial(_refuse, errors))
        kept = None
        while len(self._slots) < self._max_running:
            needs_thread = kept is not None or not keeps
            if needs_thread and not hurries and self._is_freed_soon():
                break
            batch = self._queue.take(now_s)
            if not batch:
                break
            slot = self._take_slot(batch[0].model, len(batch), batch)
            if isinstance(batch[0], _Turn):
                batch[0].begin(slot)
            elif not needs_thread:
                kept = slot
            else:
                self._crew.give(partial(self._run_on, slot))
        return kept

    def _run(self, slot: Slot) -> None:
        """Run the batch of a slot and answer it."""
        slot.began_s = self._clock()
        first = slot.batch[0]
        assert isinstance(first, BatchWork), "a turn is run by its own thread"
        first.run(slot.batch, partial(self.ran, slot))

    def _run_on(self, slot: Slot | None) -> None:
        """Run the batch of a slot, and then one after another as long as any waits."""
        while slot is not None:
            self._run(slot)
            slot = self.leave(slot, keeps=True)

    def _await(self, turn: _Turn, remaining_s: float | None) -> Slot:
        """Wait for our turn while there is time to run; a slot that comes later is passed on."""
        if remaining_s is None or remaining_s > threading.TIMEOUT_MAX:
            turn.turn.wait()
        elif not turn.turn.wait(max(0.0, remaining_s - self._times.batch_s(turn.model))):
            with self._wake:
                self._queue.discard(turn)
                late = turn.slot
            if late is not None:
                self.leave(late)
            raise expiry(Cause.EXPIRED_IN_QUEUE, remaining_s)
        if turn.slot is None:
            assert turn.error is not None, "its turn came with a slot or an error"
            raise turn.error
        return turn.slot

    def _call_timer(self, now_s: float) -> None:
        """See that somebody looks after what waits, in time."""
        if not self._queue:
            return
        if not self._has_timer:
            try:
                threading.Thread(target=self._look, name="batch-timer", daemon=True).start()
            except RuntimeError as error:  # whoever comes or leaves next tries again
                log.warning("what waits is not looked after: %s", error)
            else:
                self._has_timer = True
        elif self._next_look_s(now_s) < self._wakes_s:
            self._wake.notify()

    def _next_look_s(self, now_s: float) -> float:
        is_ripening = len(self._slots) < self._max_running and self._queue.ripe_s > now_s
        return min(now_s + POLL_S, self._queue.ripe_s if is_ripening else NEVER_S)

    def _look(self) -> None:
        """Drop and begin what became due; run on over a slot whose answers nobody takes."""
        patience = 0
        with self._wake:
            while not self._is_closed:
                now_s = self._clock()
                self._slots -= {s for s in self._slots if now_s - s.answers_since_s > STUCK_S}
                self._dispatch(now_s, hurries=True)
                patience = _PATIENCE if self._queue else patience - 1
                self._wakes_s = self._next_look_s(now_s) if patience > 0 else NEVER_S
                self._wake.wait(self._wakes_s - now_s if patience > 0 else None)

    def _queue_s(self) -> float:
        """Return a delay after which all that waits now should have had its turn."""
        return self._delay_s(self._times.wait_s(len(self._queue)))

    def _delay_s(self, least_s: float) -> float:
        """Return a delay, drawn so that those turned away together do not return together."""
        return max(_LEAST_DELAY_S, least_s) * (1 + _SPREAD * self._rng.random())


def _refuse(errors: Sequence[tuple[Work, HeadtailError]]) -> None:
    for work, error in errors:
        work.refuse(error)
