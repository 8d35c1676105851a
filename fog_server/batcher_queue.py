"""What waits to be run, and which of it runs next as one batch; no threads and no clock."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from fog_server.batcher_policy import HIGHEST, DynamicBatching
from fog_server.fairness import FairQueue, Rank
from fog_server.refusal import Cause

NEVER_S = float("inf")
_CREDIT = 2  # messages
_ALONE = DynamicBatching()


@dataclass(slots=True, eq=False)
class Job:
    """A request that waits; times are of the holder's monotonic clock, in seconds."""

    agent: str = ""
    windows: int = 1
    rules: DynamicBatching = field(default=_ALONE, kw_only=True)
    model: Hashable = field(default=None, kw_only=True)
    """Requests of one model share a queue."""
    is_batchable: bool = field(default=False, kw_only=True)
    """Whether it may run together with others of its model."""
    level: int = field(default=HIGHEST, kw_only=True)
    nbytes: int = field(default=0, kw_only=True)
    """What its tensors take while it waits."""
    is_late: bool = field(default=False, kw_only=True)
    arrived_s: float = field(default=0.0, kw_only=True)
    expires_s: float = field(default=NEVER_S, kw_only=True)
    """When it is no longer worth running."""
    times_out_s: float = field(default=NEVER_S, kw_only=True)
    """When it has waited as long as its policy allows."""

    @property
    def credit(self) -> int:
        """On how many windows its agent may catch up: two messages, or what others' batch took."""
        batch = self.rules.max_batch_size if self.is_batchable else 0
        return max(_CREDIT * self.windows, batch)

    @property
    def is_ordered(self) -> bool:
        """Whether it is answered after what its agent asked of the model before."""
        return self.rules.preserve_ordering

    @property
    def due_s(self) -> float:
        """When it is to be dropped or put off."""
        return min(self.expires_s, NEVER_S if self.is_late else self.times_out_s)


AnyJob = TypeVar("AnyJob", bound=Job)


class Dropped(NamedTuple, Generic[AnyJob]):
    """A request that waited in vain."""

    job: AnyJob
    cause: Cause


class BatchQueue(Generic[AnyJob]):
    """Holds what waits, in the order of priorities and then of fairness between agents.

    Whose turn it is decides which model runs next; others of that model join it in their order, as
    far as they fit. So a batch never takes a turn away from another agent, only places that were
    free.
    """

    def __init__(self, max_queued: int, max_queued_bytes: float = NEVER_S) -> None:
        """Start empty; at most so many requests wait, with so many bytes of tensors."""
        self._max_queued = max_queued
        self._max_bytes = max_queued_bytes
        self._jobs: FairQueue[AnyJob] = FairQueue()
        self._counts: Counter[tuple[Hashable, int]] = Counter()
        self._levels: Counter[int] = Counter()
        self._running: Counter[tuple[Hashable, str]] = Counter()
        self._due_s = NEVER_S
        self.count = 0
        """Requests that wait."""
        self.ripe_s = NEVER_S
        """When `take`, which found nothing, would find something without another request."""
        self.nbytes = 0
        """What all that waits takes."""

    def __len__(self) -> int:
        return self.count

    def waiting(self, level: int) -> int:
        """Return how many requests of a level wait."""
        return self._levels[level]

    def ahead(self, job: AnyJob) -> int:
        """Return how many would run before a request that came now."""
        return self._jobs.ahead(self._jobs.rank(job))

    def is_ripe(self, job: AnyJob) -> bool:
        """Return whether a request need not wait for others to join it."""
        return job.rules.is_ripe(job.windows, is_batchable=job.is_batchable)

    def is_held(self, job: AnyJob) -> bool:
        """Return whether a request has to wait for an earlier one of its agent that runs."""
        return bool(self._running) and self._running[job.model, job.agent] > 0

    def add(self, job: AnyJob) -> list[AnyJob]:
        """Let a request wait; return what has to leave for that, itself if there is no place."""
        rank = self._jobs.rank(job)
        left = self._make_room(job, rank)
        if self._is_full(job) or job in left:
            return left if job in left else [*left, job]
        self._jobs.push(job)
        self._counts[job.model, job.level] += 1
        self._levels[job.level] += 1
        self.count += 1
        self.nbytes += job.nbytes
        self._due_s = min(self._due_s, job.due_s)
        return left

    def discard(self, job: AnyJob) -> bool:
        """Forget a request that is given up; return whether it waited."""
        if not any(other is job for other in self._jobs):
            return False
        self._jobs.remove(job)
        self._gone(job)
        return True

    def drop(self, now_s: float) -> list[Dropped[AnyJob]]:
        """Take out what has expired; what has only waited too long goes or is put off."""
        if now_s < self._due_s:
            return []
        dropped = []
        for job in list(self._jobs):
            if now_s >= job.expires_s:
                dropped.append(Dropped(job, Cause.EXPIRED_IN_QUEUE))
            elif now_s >= job.times_out_s and not job.is_late:
                if job.rules.policy(job.level).timeout_action == "DELAY":
                    self._jobs.put_off(job)
                else:
                    dropped.append(Dropped(job, Cause.TIMED_OUT))
        for job, _ in dropped:
            self.discard(job)
        self._due_s = min((job.due_s for job in self._jobs), default=NEVER_S)
        return dropped

    def take(self, now_s: float) -> list[AnyJob]:
        """Take out what runs next as one batch; nothing where all that waits has to go on waiting.

        What has expired must have been dropped before.
        """
        self.ripe_s = NEVER_S
        seen: set[Hashable] = set()
        for head in self._jobs:
            if head.model in seen or self.is_held(head):
                continue
            batch, ripe_s = self._form(head)
            if now_s >= ripe_s:
                self._jobs.take(batch)
                for job in batch:
                    self._gone(job)
                self.begin(batch)
                return batch
            seen.add(head.model)
            self.ripe_s = min(self.ripe_s, ripe_s)
        return []

    def begin(self, batch: Sequence[AnyJob]) -> None:
        """Note that a batch runs; `end` must follow once it is answered."""
        if batch[0].is_ordered:
            self._running.update((job.model, job.agent) for job in batch)

    def end(self, batch: Sequence[AnyJob]) -> bool:
        """Note that a batch was answered; return whether others may have waited for that."""
        if not batch[0].is_ordered:
            return False
        for job in batch:
            self._running[job.model, job.agent] -= 1
            if not self._running[job.model, job.agent]:
                del self._running[job.model, job.agent]
        return True

    def _form(self, head: AnyJob) -> tuple[list[AnyJob], float]:
        """Return the batch that would run if `head` did, and when it is worth running."""
        if not head.is_batchable:
            return [head], head.arrived_s
        rules, batch, windows = head.rules, list[AnyJob](), 0
        preferred, is_closed = 0, False
        for job in self._jobs:
            if job.model != head.model or self.is_held(job):
                continue
            if batch and windows + job.windows > rules.max_batch_size:
                is_closed = True
                break
            batch.append(job)
            windows += job.windows
            if windows in rules.preferred_batch_size:
                preferred = len(batch)
        if preferred:
            return batch[:preferred], head.arrived_s
        oldest_s = min(job.arrived_s for job in batch)
        if is_closed or windows >= rules.max_batch_size:
            return batch, oldest_s
        return batch, oldest_s + rules.max_queue_delay_microseconds / 1e6

    def _make_room(self, job: AnyJob, rank: Rank) -> list[AnyJob]:
        """Push out what would run last, of its own queue or of all, if it would run after `job`."""
        left: list[AnyJob] = []
        limit = job.rules.policy(job.level).max_queue_size
        queue = job.model, job.level
        if limit and self._counts[queue] >= limit:
            last = self._jobs.take_last(rank, lambda other: (other.model, other.level) == queue)
            if last is None:
                return [job]
            left.append(self._gone(last))
        while self._is_full(job):
            last = self._jobs.take_last(rank)
            if last is None:
                break
            left.append(self._gone(last))
        return left

    def _is_full(self, job: AnyJob) -> bool:
        too_large = len(self._jobs) > 0 and self.nbytes + job.nbytes > self._max_bytes
        return len(self._jobs) >= self._max_queued or too_large

    def _gone(self, job: AnyJob) -> AnyJob:
        queue = job.model, job.level
        self._counts[queue] -= 1
        if not self._counts[queue]:
            del self._counts[queue]
        self._levels[job.level] -= 1
        self.count -= 1
        self.nbytes -= job.nbytes
        return job
