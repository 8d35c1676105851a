"""Jobs on disk: what each change does, and that there are no half ones."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from serve_case import GIB, request

from headtail.errors import ConfigError, JobNotFound, Overloaded, RequestInvalid, WrongState
from optimizer.serve import store_schema
from optimizer.serve.capacity import Grant
from optimizer.serve.intake import Intake
from optimizer.serve.job import Resources, State
from optimizer.serve.store import JobStore

GRANT = Grant((1, 3), (0,), GIB)


class Clock:
    """A clock to turn."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    """Return a store in a new file."""
    made = JobStore(tmp_path / "jobs.sqlite3", clock)
    yield made
    made.close()


def add(store: JobStore, **fields: object) -> str:
    """Queue a job and return its id."""
    return store.add(request(**fields), 100)[0].id


def test_job_is_kept_as_it_was_sent(store, tmp_path) -> None:
    """Also by the next one who opens the file."""
    sent = request(seed=2**32 - 1, reason="why “not”", submitter="operator/ann")
    job, is_known = store.add(sent, 1)
    assert not is_known
    other = JobStore(tmp_path / "jobs.sqlite3")
    assert job == other.get(job.id)
    assert (sent.recipe, 2**32 - 1, "why “not”") == (other.recipe(job.id), job.seed, job.reason)
    assert (State.QUEUED, 100.0, None, 0) == (job.state, job.created_s, job.started_s, job.attempts)
    other.close()


def test_key_of_an_earlier_request_is_its_job(store) -> None:
    """Whatever became of it; another request or another caller is another matter."""
    job, _ = store.add(request(key="k", submitter="a"), 1)
    store.cancel(job.id)
    assert (store.get(job.id), True) == store.add(request(key="k", submitter="a"), 1)
    with pytest.raises(WrongState, match=f"key 'k': belongs to .* job {job.id}"):
        store.add(request(key="k", submitter="a", seed=1), 1)
    assert not store.add(request(key="k", submitter="b", seed=1), 1)[1]
    assert 2 == len(store.jobs())


def test_only_so_many_jobs_wait(store) -> None:
    """Those that run or are over do not count; a known key is no new job."""
    first = store.add(request(key="k"), 1)[0].id
    with pytest.raises(Overloaded, match="1 jobs wait"):
        store.add(request(), 1)
    assert store.add(request(key="k"), 1)[1]
    store.start(first, GRANT)
    add(store)
    assert [2, 1, 1] == [len(store.jobs()), len(store.queued()), len(store.running())]


def test_states_go_one_way(store, clock) -> None:
    """What is over stays as it is, whoever is late."""
    job = add(store)
    assert store.start(job, GRANT)
    assert not store.start(job, GRANT)
    ((running, grant),) = store.running()
    assert (running.id, GRANT) == (job, Grant(grant.cores, grant.gpus, GRANT.memory_bytes))
    clock.now = 150.0
    assert store.requeue(job, is_crash=True)
    assert not store.requeue(job, is_crash=True)
    assert store.start(job, GRANT)
    assert (100.0, 2) == (store.get(job).started_s, store.get(job).attempts)
    assert store.succeed(job, "a-1.bundle", "ab")
    for late in (
        store.fail(job, "x"),
        store.cancel(job),
        store.requeue(job, is_crash=False),
        store.start(job, GRANT),
        store.succeed(job, "b", "c"),
    ):
        assert not late
    done = store.request_cancel(job)
    assert (State.SUCCEEDED, 150.0, "ab") == (done.state, done.finished_s, done.result.digest)
    assert not done.is_cancel_requested


def test_cancel_ends_what_waits_and_asks_what_runs(store) -> None:
    waits, runs = add(store), add(store)
    store.start(runs, GRANT)
    assert State.CANCELLED is store.request_cancel(waits).state
    asked = store.request_cancel(runs)
    assert (State.RUNNING, True) == (asked.state, asked.is_cancel_requested)


def test_lists_are_newest_first_and_turns_oldest_first(store) -> None:
    jobs = [add(store) for _ in range(4)]
    store.cancel(jobs[1])
    assert jobs[::-1] == [j.id for j in store.jobs()]
    assert jobs[:1:-1] == [j.id for j in store.jobs([State.QUEUED], 2)]
    assert [jobs[0], jobs[2], jobs[3]] == [j.id for j in store.queued()]
    assert {State.QUEUED: 3, State.CANCELLED: 1} == {s: n for s, n in store.counts().items() if n}
    assert 100.0 == store.oldest_queued_s()


def test_unknown_job_is_named(store) -> None:
    for call in (store.get, store.recipe, store.request_cancel):
        with pytest.raises(JobNotFound, match="job 'nosuch': not kept here"):
            call("nosuch")
    assert [] == store.lines("nosuch")


def test_oldest_over_are_those_to_delete(store) -> None:
    """What waits or runs is never among them; lines go with their job."""
    jobs = [add(store) for _ in range(5)]
    Intake(store, 10).say(jobs[0], "x")
    for job in jobs[:3]:
        store.fail(job, "")
    assert [] == store.oldest_over(5)
    assert jobs[:2] == store.oldest_over(3)
    assert jobs[:3] == store.oldest_over(0)
    store.delete(jobs[0])
    assert [] == store.lines(jobs[0])
    with pytest.raises(JobNotFound):
        store.get(jobs[0])


def test_failed_change_leaves_nothing(store) -> None:
    """A disk that is full in the middle, a bug: all or none."""
    job = add(store)

    def both() -> None:
        with store.transaction():
            store.start(job, GRANT)
            with store.transaction():
                store.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(sqlite3.OperationalError):
        both()
    assert State.QUEUED is store.get(job).state
    assert store.start(job, GRANT)


def test_full_disk_refuses_and_changes_nothing(store) -> None:
    """SQLite's own limit stands for the disk's."""
    job = add(store)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.add(request(reason="x" * 1000, recipe=b"#" * 100_000), 10)
    assert [job] == [j.id for j in store.jobs()]
    assert State.CANCELLED is store.request_cancel(job).state


def test_file_of_another_program_or_a_newer_one_is_refused(tmp_path) -> None:
    path = tmp_path / "other.sqlite3"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(ConfigError, match=r"other\.sqlite3: is no file of jobs"):
        JobStore(path)
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigError, match="file is not a database"):
        JobStore(path)
    newer = tmp_path / "newer.sqlite3"
    JobStore(newer).close()
    with sqlite3.connect(newer) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(ConfigError, match="expected schema version 1 to 2, received 99"):
        JobStore(newer)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": ""},
        {"reason": "a\nb"},
        {"reason": "x" * 1001},
        {"key": "k" * 129},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_request_that_breaks_a_rule_is_refused(wrong) -> None:
    with pytest.raises(Exception, match="request refused: expected"):
        request(**wrong)


@pytest.mark.parametrize("wrong", [(0, 0, 0), (1, -1, 0), (1, 0, -1), (5000, 0, 0)])
def test_resources_are_numbers_that_make_sense(wrong) -> None:
    with pytest.raises(Exception, match="request refused: expected"):
        Resources(*wrong)


def test_file_of_the_first_schema_is_brought_to_the_present_one(tmp_path, monkeypatch) -> None:
    """Its jobs have their recipes' versions, and are found again by the keys they came with."""
    with monkeypatch.context() as before:
        before.setattr(store_schema, "MIGRATIONS", store_schema.MIGRATIONS[:1])
        before.setattr(store_schema, "VERSION", 1)
        store_schema.open_database(tmp_path / "jobs.sqlite3").close()
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as file, file:
        sent = request(key="k")
        fields = (sent.name, None, 1, 0, GIB)  # as the first services wrote it
        digest = hashlib.sha256(repr(fields).encode() + sent.recipe).hexdigest()
        file.execute(
            "INSERT INTO jobs (id, name, reason, submitter, key, request_sha256, recipe,"
            " recipe_sha256, cpus, gpus, memory_bytes, state, created_s)"
            " VALUES ('old-1', 'chain', '', '', 'k', ?, ?, '', 1, 0, ?, 'queued', 1.0)",
            (digest, sent.recipe, GIB),
        )
    store = JobStore(tmp_path / "jobs.sqlite3")
    job, is_known = store.add(sent, 1)
    assert ("old-1", "", True) == (job.id, job.version, is_known)
    store.close()


def test_version_is_part_of_what_was_asked_for(store) -> None:
    job, _ = store.add(request(key="k", version="1.3"), 1)
    assert "1.3" == store.get(job.id).version
    assert (job, True) == store.add(request(key="k", version="1.3"), 1)
    with pytest.raises(WrongState, match="belongs to another request"):
        store.add(request(key="k", version="1.4"), 1)
    with pytest.raises(RequestInvalid, match=r"version: .*numbers with dots"):
        request(version="1.x")
