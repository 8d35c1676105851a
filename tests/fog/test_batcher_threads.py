"""Admission's threads: every request is answered or refused once, whoever blocks."""

import random
import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field

from fog_server.admission import Admission
from fog_server.batcher_crew import Crew
from fog_server.batcher_policy import DynamicBatching, QueuePolicy
from fog_server.batcher_work import BatchWork
from fog_server.refusal import Cause
from headtail.errors import HeadtailError

RULES = DynamicBatching(max_batch_size=4)


@dataclass(slots=True, eq=False, kw_only=True)
class Recorded(BatchWork):
    """A request that notes what becomes of it."""

    number: int
    ends: list[object]
    batches: list[list[int]]
    begun: threading.Event = field(default_factory=threading.Event)
    runs: threading.Event | None = None
    leaves: threading.Event | None = None

    def run(self, batch, ran) -> None:
        """Run until told to end, then answer until told to end."""
        self.batches.append([work.number for work in batch])
        self.begun.set()
        if self.runs is not None:
            self.runs.wait(20)
        ran()
        if self.leaves is not None:
            self.leaves.wait(20)
        for work in batch:
            self.ends.append(work.number)

    def refuse(self, error: HeadtailError) -> None:
        """Note why."""
        self.ends.append(error)


class Site:
    """An admission and what became of its requests."""

    def __init__(self, admission: Admission) -> None:
        """Begin with none."""
        self.admission = admission
        self.ends: list[object] = []
        self.batches: list[list[int]] = []
        self.works: list[Recorded] = []

    def submit(self, remaining_s=None, here=False, **keys) -> Recorded:
        """Let a request come."""
        defaults = {"rules": RULES, "model": "m", "is_batchable": True, "agent": "a"}
        work = Recorded(
            number=len(self.works), ends=self.ends, batches=self.batches, **defaults | keys
        )
        self.works.append(work)
        self.admission.submit(work, remaining_s, here=here)
        return work


def test_what_waits_runs_together_once_the_slot_is_free(wait_until) -> None:
    """Four at a time, in the order in which they came."""
    site = Site(Admission(1, 16))
    release = threading.Event()
    site.submit(runs=release).begun.wait(20)
    for _ in range(6):
        site.submit()
    assert (1, 6) == (site.admission.running, site.admission.queued)
    release.set()
    wait_until(lambda: len(site.ends) == 7)
    assert [[0], [1, 2, 3, 4], [5, 6]] == site.batches
    wait_until(lambda: site.admission.running == 0)
    site.admission.close()


def test_request_runs_on_its_own_thread_where_nothing_waits() -> None:
    """It is over when `submit` returns."""
    site = Site(Admission(1, 16))
    site.submit(here=True)
    assert [0] == site.ends


def test_answers_that_nobody_takes_do_not_keep_the_slot(wait_until) -> None:
    """Another batch runs meanwhile."""
    site = Site(Admission(1, 16))
    leaves = threading.Event()
    site.submit(leaves=leaves).begun.wait(20)
    site.submit()
    wait_until(lambda: site.ends == [1])
    leaves.set()
    wait_until(lambda: site.ends == [1, 0])
    wait_until(lambda: site.admission.running == 0)
    site.admission.close()


def test_expired_and_timed_out_work_is_dropped_while_the_slot_is_busy(wait_until) -> None:
    """Its sender hears of it at once, not when the slot is free."""
    site = Site(Admission(1, 16))
    release = threading.Event()
    site.submit(runs=release).begun.wait(20)
    policy = DynamicBatching(default_queue_policy=QueuePolicy(default_timeout_microseconds=5000))
    site.submit(remaining_s=0.02)
    site.submit(rules=policy, patience_s=0.005)
    wait_until(lambda: len(site.ends) == 2)
    assert {Cause.EXPIRED_IN_QUEUE, Cause.TIMED_OUT} == {error.cause for error in site.ends}
    release.set()
    wait_until(lambda: len(site.ends) == 3)
    assert [[0]] == site.batches
    site.admission.close()


def test_every_request_ends_once_whatever_the_threads_do(wait_until) -> None:
    """Twelve threads, two slots, a short queue, deadlines: answered, refused or raised, once."""
    site = Site(Admission(2, 8, rng=random.Random(1)))
    lock, raised = threading.Lock(), []
    works: list[Recorded] = []

    def send(agent: int) -> None:
        rng = random.Random(agent)
        for _ in range(100):
            with lock:
                work = Recorded(
                    number=len(works), ends=site.ends, batches=site.batches, rules=RULES,
                    model=rng.choice("mn"), is_batchable=True, agent=f"a{agent}",
                )  # fmt: skip
                works.append(work)
            try:
                site.admission.submit(work, rng.choice([None, 0.001]), here=rng.random() < 0.5)
            except HeadtailError:
                raised.append(work.number)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(site.ends) + len(raised) == 1200)
    answered = Counter(end for end in site.ends if isinstance(end, int))
    assert not answered.keys() & set(raised)
    assert 1 == max(answered.values())
    assert all(len(batch) <= 4 for batch in site.batches)
    assert sorted(answered) == sorted(number for batch in site.batches for number in batch)
    wait_until(lambda: (site.admission.running, site.admission.queued) == (0, 0))
    site.admission.close()


def test_thread_that_is_idle_keeps_nothing_of_what_it_ran(wait_until) -> None:
    """A request leads to its tail, which may be retired: its memory is then to be free."""

    class Task:
        def __call__(self) -> None:
            """Do nothing."""

    crew, task = Crew(), Task()
    ran = weakref.ref(task)
    crew.give(task)
    del task
    wait_until(lambda: crew._idle == 1)
    wait_until(lambda: ran() is None)
    crew.close()


def test_task_waits_where_the_system_has_no_more_threads(monkeypatch, caplog, wait_until) -> None:
    """For the next thread that is free, and no task is lost or left behind after that."""
    crew, done, begun, release = Crew(), [], threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        release.wait(20)

    def refuse(_thread) -> None:
        raise RuntimeError("can't start new thread")

    crew.give(hold)
    assert begun.wait(20)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        crew.give(lambda: done.append(1))
    assert "can't start new thread" in caplog.text
    assert [] == done
    crew.give(lambda: done.append(2))
    wait_until(lambda: [1, 2] == done)
    release.set()
    wait_until(lambda: crew._idle == 2)
    crew.close()


def test_what_waits_expires_once_the_system_has_threads_again(monkeypatch, wait_until) -> None:
    """Who looks after it is a thread that is begun when something waits."""
    site, release = Site(Admission(1, 16)), threading.Event()
    site.submit(runs=release).begun.wait(20)

    def refuse(_thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        site.submit(remaining_s=0.05)
    site.submit(remaining_s=0.05)
    wait_until(lambda: len(site.ends) == 2)
    assert [Cause.EXPIRED_IN_QUEUE] * 2 == [error.cause for error in site.ends]
    release.set()
    wait_until(lambda: len(site.ends) == 3)
    site.admission.close()
