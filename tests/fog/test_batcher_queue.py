"""The batch queue against a model of it without any cleverness, and the promises it makes."""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fog_server.batcher_policy import DynamicBatching, QueuePolicy
from fog_server.batcher_queue import BatchQueue, Job
from fog_server.refusal import Cause

PLAIN = DynamicBatching(max_batch_size=4)
RULES = {
    "plain": PLAIN,
    "slow": DynamicBatching(max_batch_size=6, max_queue_delay_microseconds=2_000_000),
    "preferred": DynamicBatching(
        max_batch_size=8, preferred_batch_size=(2, 5), max_queue_delay_microseconds=3_000_000
    ),
    "ordered": DynamicBatching(max_batch_size=3, preserve_ordering=True),
    "short": DynamicBatching(default_queue_policy=QueuePolicy(max_queue_size=2)),
    "delay": DynamicBatching(
        priority_levels=3,
        default_priority_level=2,
        default_queue_policy=QueuePolicy(timeout_action="DELAY"),
    ),
    "single": PLAIN,
}
CREDIT = 2


def job(model: str = "plain", agent: str = "a", windows: int = 1, **more: object) -> Job:
    """Return a request for one of the models above."""
    rules = RULES[model]
    more = {"level": rules.level(0)} | more
    return Job(agent, windows, rules=rules, model=model, is_batchable=model != "single", **more)


@dataclass
class Naive:
    """What the queue is to do, said as plainly as can be: lists that are sorted and searched."""

    max_queued: int
    waiting: list[tuple[int, Job]] = field(default_factory=list)
    tags: dict[Job, int] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)
    clock: int = 0
    arrivals: int = 0
    held: Counter[tuple[object, str]] = field(default_factory=Counter)

    def place(self, entry: tuple[int, Job]) -> tuple[int, bool, int, int]:
        """Return what those who wait are sorted by."""
        number, waiting = entry
        return waiting.level, waiting.is_late, self.tags[waiting], number

    def order(self) -> list[Job]:
        """Return those who wait, the next one first."""
        return [waiting for _, waiting in sorted(self.waiting, key=self.place)]

    def add(self, new: Job) -> list[Job]:
        """Let it wait; return who leaves."""
        self.accounts.setdefault(new.agent, self.clock)
        rank, left = (new.level, new.is_late, self.tag(new)), []
        limit = new.rules.policy(new.level).max_queue_size
        same = [w for w in self.order() if (w.model, w.level) == (new.model, new.level)]
        if limit and len(same) >= limit:
            if self.place(self.entry(same[-1]))[:3] <= rank:
                return [new]
            left.append(self.leave(same[-1]))
        while len(self.waiting) >= self.max_queued:
            if not self.waiting or self.place(self.entry(self.order()[-1]))[:3] <= rank:
                return [*left, new]
            left.append(self.leave(self.order()[-1]))
        # Who left may have been its own agent's, which has had less then.
        self.tags[new] = self.accounts[new.agent] = self.tag(new)
        self.waiting.append((self.arrivals, new))
        self.arrivals += 1
        return left

    def tag(self, new: Job) -> int:
        """Return the windows its agent will have had."""
        credit = max(CREDIT * new.windows, new.rules.max_batch_size * new.is_batchable)
        return max(self.accounts[new.agent], self.clock - credit) + new.windows

    def entry(self, who: Job) -> tuple[int, Job]:
        """Return it with its number."""
        return next(e for e in self.waiting if e[1] is who)

    def leave(self, who: Job) -> Job:
        """Take it out unserved: it costs its agent nothing."""
        number, _ = entry = self.entry(who)
        self.waiting.remove(entry)
        self.accounts[who.agent] -= who.windows
        for later, other in self.waiting:
            if other.agent == who.agent and later > number:
                self.tags[other] -= who.windows
        return who

    def drop(self, now_s: float) -> list[tuple[Job, Cause]]:
        """Take out what has expired or waited too long."""
        gone = []
        for who in self.order():
            is_delayed = who.rules.policy(who.level).timeout_action == "DELAY"
            if now_s >= who.expires_s:
                gone.append((who, Cause.EXPIRED_IN_QUEUE))
            elif now_s >= who.times_out_s and not is_delayed:
                gone.append((who, Cause.TIMED_OUT))
        for who, _ in gone:
            self.leave(who)
        return gone

    def take(self, now_s: float) -> list[Job]:
        """Try every one's batch in turn."""
        free = [w for w in self.order() if not self.held[w.model, w.agent]]
        for head in free:
            mine = [w for w in free if w.model == head.model]
            if mine[0] is not head:
                continue
            batch = self.batch(mine, now_s) if head.is_batchable else [head]
            if batch:
                self.clock = max(self.clock, self.tags[head])
                self.waiting = [e for e in self.waiting if not any(e[1] is w for w in batch)]
                return batch
        return []

    def batch(self, mine: list[Job], now_s: float) -> list[Job]:
        """Return the batch of one model's requests, or nothing while it is worth a wait."""
        rules = mine[0].rules
        prefixes = [mine[: n + 1] for n in range(len(mine))]
        fitting = [p for p in prefixes if len(p) == 1 or windows(p) <= rules.max_batch_size]
        preferred = [p for p in fitting if windows(p) in rules.preferred_batch_size]
        if preferred:
            return preferred[-1]
        batch = fitting[-1]
        oldest_s = min(w.arrived_s for w in batch)
        is_full = len(fitting) < len(prefixes) or windows(batch) >= rules.max_batch_size
        delay_s = rules.max_queue_delay_microseconds / 1e6
        return batch if is_full or now_s >= oldest_s + delay_s else []


def windows(jobs: list[Job]) -> int:
    """Return how many windows requests hold together."""
    return sum(j.windows for j in jobs)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.sampled_from(sorted(RULES)),
            st.sampled_from("abc"),
            st.integers(1, 9),
            st.integers(0, 3),
            st.sampled_from([None, 1, 3]),
            st.sampled_from([None, 1, 2]),
        ),
        st.tuples(st.sampled_from(["wait", "take", "take", "end", "discard"]), st.integers(0, 9)),
    ),
    max_size=60,
)


class Run:
    """Does the same to the queue and to the model of it, and keeps account of every request."""

    def __init__(self, max_queued: int) -> None:
        """Start empty."""
        self.queue: BatchQueue[Job] = BatchQueue(max_queued)
        self.naive = Naive(max_queued)
        self.now_s = 0.0
        self.ends: Counter[Job] = Counter()
        self.added: list[Job] = []
        self.running: list[list[Job]] = []
        self.served: dict[tuple[object, str], list[Job]] = defaultdict(list)

    def add(self, model, agent, size, priority, expires, times_out) -> None:
        """Let a request come."""
        new = job(model, agent, size, level=RULES[model].level(priority), arrived_s=self.now_s)
        if expires is not None:
            new.expires_s = self.now_s + expires
        if times_out is not None:
            new.times_out_s = self.now_s + times_out
        self.added.append(new)
        left = self.naive.add(new)
        assert left == self.queue.add(new)
        self.ends.update(left)

    def wait(self, seconds: int) -> None:
        """Let time pass, and drop what has expired."""
        self.now_s += seconds / 4
        late = {j for j in self.naive.order() if j.rules.policy(j.level).timeout_action == "DELAY"}
        dropped = self.queue.drop(self.now_s)
        expected = self.naive.drop(self.now_s)
        assert {(id(j), c) for j, c in expected} == {(id(j), c) for j, c in dropped}
        self.ends.update(j for j, _ in dropped)
        for delayed in late:
            is_late = self.now_s >= delayed.times_out_s and self.now_s < delayed.expires_s
            assert delayed.is_late or not is_late

    def take(self, _: int) -> None:
        """Run what is next."""
        self.wait(0)
        expected = self.naive.take(self.now_s)
        batch = self.queue.take(self.now_s)
        assert expected == batch
        if not batch:
            assert self.queue.ripe_s > self.now_s
            return
        assert len(batch) == 1 or windows(batch) <= batch[0].rules.max_batch_size
        assert len(batch) == 1 or batch[0].is_batchable
        assert len({j.model for j in batch}) == 1
        assert all(self.now_s < j.expires_s for j in batch)
        for j in batch:
            if j.is_ordered:
                assert not any(other.agent == j.agent for b in self.running for other in b
                               if other.model == j.model)  # fmt: skip
                self.naive.held[j.model, j.agent] += 1
        self.ends.update(batch)
        self.running.append(batch)
        for j in batch:
            self.served[j.model, j.agent].append(j)

    def end(self, number: int) -> None:
        """Answer a batch that runs."""
        if self.running:
            batch = self.running.pop(number % len(self.running))
            assert self.queue.end(batch) == batch[0].is_ordered
            for j in batch:
                if j.is_ordered:
                    self.naive.held[j.model, j.agent] -= 1

    def discard(self, number: int) -> None:
        """Give a request up."""
        waiting = self.naive.order()
        if waiting:
            given_up = waiting[number % len(waiting)]
            self.naive.leave(given_up)
            assert self.queue.discard(given_up)
            assert not self.queue.discard(given_up)
            self.ends[given_up] += 1


@settings(max_examples=80, deadline=None)
@given(STEPS, st.sampled_from([1, 4, 50]))
def test_queue_does_what_its_plain_model_does(steps, max_queued) -> None:
    """Whatever comes: the same batches, each request ended once, nothing expired run, in order."""
    run = Run(max_queued)
    for name, *values in steps:
        getattr(run, name)(*values)
        assert len(run.naive.waiting) == len(run.queue)
        for level in range(4):
            expected = sum(j.level == level for j in run.naive.order())
            assert expected == run.queue.waiting(level)
    while run.queue:
        run.wait(40)
        run.take(0)
        run.end(0)
    assert Counter(dict.fromkeys(run.added, 1)) == run.ends
    for (model, _), served in run.served.items():
        if RULES[model].preserve_ordering:
            assert sorted(served, key=run.added.index) == served


def saturated(seed: int, models: list[str], agents: int, batches: int) -> dict[str, int]:
    """Return the windows each agent got of a queue that was always full; greed differs."""
    rng = random.Random(seed)
    queue: BatchQueue[Job] = BatchQueue(4 * agents)
    sizes = {f"agent-{n}": rng.choice([1, 1, 2, 4]) for n in range(agents)}
    greed = {agent: rng.choice([1, 2, 16]) for agent in sizes}
    model = {agent: rng.choice(models) for agent in sizes}
    got = dict.fromkeys(sizes, 0)
    for _ in range(batches):
        order = list(sizes)
        rng.shuffle(order)
        for agent in order:
            for _ in range(greed[agent]):
                queue.add(job(model[agent], agent, sizes[agent]))
        for j in queue.take(0.0):
            got[j.agent] += j.windows
    return got


@pytest.mark.parametrize("models", [["plain"], ["plain", "preferred", "single"]])
@pytest.mark.parametrize("seed", range(3))
def test_nobody_gets_less_than_half_of_the_mean_of_a_full_queue(seed, models) -> None:
    """64 agents, some asking sixteen times for four windows, others now and then for one."""
    got = saturated(seed, models, 64, 250)
    mean = sum(got.values()) / len(got)
    assert min(got.values()) >= mean / 2, sorted(got.values())
