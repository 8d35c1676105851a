"""Jobs as real processes: started in turn, followed, ended, and gone on with after a kill."""

import hashlib
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from serve_case import CORE, GIB, Service, marked, wait_for

from optimizer.serve.capacity import Machine
from optimizer.serve.job import Resources, State
from optimizer.serve.process import JobProcess


def chain(steps: int) -> str:
    """Return the digest that a run of so many steps ends with, computed on its own."""
    lines: list[str] = []
    for _ in range(steps):
        lines.append(hashlib.sha256("".join(lines).encode()).hexdigest())
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def test_job_runs_and_keeps_what_it_made(serve) -> None:
    """State, digest, progress and lines are those of the process."""
    service = serve()
    job = service.over(service.send("steps=4"))
    assert (State.SUCCEEDED, chain(4)) == (job.state, job.result.digest)
    assert (job.progress.stage, job.progress.done, job.progress.total) == ("chain", 4, 4)
    first, stage, last = service.text(job.id)
    assert f"attempt 1 on cores {CORE}" == first
    assert stage.startswith("chain ")
    assert "done" == last
    assert 1 == job.attempts
    assert job.created_s <= job.started_s <= job.finished_s


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("error", "no such data"),
        ("mute", "ended with exit code 3: something broke"),
        ("nothing", "ended with exit code 0: chain"),
    ],
)
def test_failure_says_why(end, error, serve) -> None:
    """In the process's own words where it has any; it is not tried again."""
    service = serve()
    job = service.over(service.send(f"end={end}"))
    assert (State.FAILED, 1) == (job.state, job.attempts)
    assert job.error.startswith(error)


def test_process_that_is_killed_again_and_again_fails_its_job(serve) -> None:
    """As when the kernel has no memory for it."""
    service = serve(crashes=2)
    job = service.over(service.send("end=killed"))
    assert (State.FAILED, 3) == (job.state, job.attempts)
    assert "its process ended 3 times without a word by SIGKILL" == job.error


def test_kills_of_process_and_service_leave_no_trace(serve) -> None:
    """At random moments; the digest is that of a run that nobody disturbed."""
    steps, rng = 60, np.random.default_rng()
    service = serve(crashes=100)
    job = service.send(f"steps={steps} ms=5")
    for kill in ("job", "service", "both") * 2:
        grow(service, job, int(rng.integers(1, 400)))
        if kill != "service":
            JobProcess(service.scheduler.folder(job)).kill()
        if kill != "job":
            service.abandon()
            service = serve(crashes=100)
    done = service.over(job)
    assert (State.SUCCEEDED, chain(steps)) == (done.state, done.result.digest)
    assert [] == marked(service.scheduler.folder(job).path)


def size(path: Path) -> int:
    """Return a file's size; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def grow(service: Service, job: str, more: int) -> None:
    """Wait until a job has written so many bytes more, or is over."""
    enough = size(service.history(job)) + more
    wait_for(lambda: size(service.history(job)) >= enough or service.store.get(job).state.is_final)


def test_process_outlives_its_service_and_is_found_again(serve) -> None:
    """It is not started a second time."""
    service = serve()
    job = service.send("steps=100 ms=10")
    wait_for(lambda: size(service.history(job)) > 0)
    service.abandon()
    (before,) = marked(service.scheduler.folder(job).path)
    service = serve()
    assert [before] == marked(service.scheduler.folder(job).path)
    done = service.over(job)
    assert (State.SUCCEEDED, 1, chain(100)) == (done.state, done.attempts, done.result.digest)


def test_stopped_service_takes_its_processes_along(serve) -> None:
    """And the next one goes on; a stop is no crash."""
    service = serve(crashes=0)
    job = service.send("steps=60 ms=10")
    wait_for(lambda: size(service.history(job)) > 0)
    service.scheduler.close()
    assert [] == marked(service.scheduler.folder(job).path)
    assert State.QUEUED is service.store.get(job).state
    done = serve(crashes=0).over(job)
    assert (State.SUCCEEDED, 2, chain(60)) == (done.state, done.attempts, done.result.digest)


@pytest.mark.parametrize("end", ["family", "well"])
def test_cancelled_job_leaves_no_process(end, serve) -> None:
    """Nor children that do not listen."""
    service = serve()
    job = service.send(f"steps=2000 ms={0 if end == 'family' else 20} end={end}")
    at_least = 3 if end == "family" else 1
    folder = service.scheduler.folder(job).path
    wait_for(lambda: len(marked(folder)) >= at_least)
    service.cancel(job)
    assert State.CANCELLED is service.over(job).state
    assert [] == marked(folder)


def test_job_that_waits_is_cancelled_at_once(serve) -> None:
    """It never starts; the one that runs goes on."""
    service = serve()
    long = service.send("steps=2000 ms=20", resources=Resources(2, 0, GIB))
    waits = service.send("steps=1")
    service.cancel(waits)
    assert (State.CANCELLED, 0) == (service.over(waits).state, service.store.get(waits).attempts)
    service.cancel(long)
    service.cancel(long)
    assert State.CANCELLED is service.over(long).state
    service.cancel(long)
    assert State.CANCELLED is service.store.get(long).state


def test_jobs_that_do_not_fit_wait_and_are_not_overtaken(serve) -> None:
    """By processors first, then by memory: first come, first served."""
    service = serve()
    jobs = [
        service.send("steps=5 ms=20", resources=Resources(*wanted))
        for wanted in ((1, 0, GIB), (2, 0, GIB), (1, 0, 2 * GIB), (1, 0, GIB), (1, 0, GIB))
    ]
    one, wide, heavy, *small = [service.over(job) for job in jobs]
    assert one.finished_s <= wide.started_s
    assert wide.finished_s <= heavy.started_s
    assert all(heavy.finished_s <= job.started_s for job in small)


def test_job_larger_than_the_machine_fails_when_its_turn_comes(serve, machine) -> None:
    """It was sent when the machine had more."""
    service = serve()
    job = service.over(service.send("steps=1", resources=Resources(3, 0, GIB)))
    assert (State.FAILED, 0) == (job.state, job.attempts)
    assert "cpus: request refused: expected at most 2, received 3" in job.error


def test_job_over_its_memory_is_ended(serve) -> None:
    service = serve(machine=Machine((CORE,), (), 1 << 40, GIB))
    asked = 32 << 20
    job = service.over(service.send("end=memory", resources=Resources(1, 0, asked)))
    assert State.FAILED is job.state
    assert job.error.endswith("MiB of memory and asked for 32 MiB")


def test_oldest_jobs_are_forgotten_with_their_files(serve) -> None:
    """Five are kept."""
    service = serve()
    jobs = [service.send("steps=1") for _ in range(7)]
    for job in jobs[2:]:
        service.over(job)
    wait_for(lambda: len(service.store.jobs()) == 5)
    assert jobs[:1:-1] == [job.id for job in service.store.jobs()]
    assert set(jobs[2:]) == {p.name for p in (service.path / "jobs").iterdir()}


def test_job_that_cannot_start_fails(serve, tmp_path) -> None:
    """Here a file stands where its folder would be."""
    (tmp_path / "jobs").write_text("")
    service = serve()
    job = service.over(service.send("steps=1"))
    assert State.FAILED is job.state
    assert job.error.startswith("cannot be started: ")


def test_process_has_what_it_was_granted(serve, monkeypatch) -> None:
    """Cores, no GPU, its own session; nothing of systemd's."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    service = serve()
    job = service.send("steps=500 ms=20")
    folder = service.scheduler.folder(job).path
    wait_for(lambda: size(service.history(job)) > 0)
    (pid,) = marked(folder)
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert {CORE} == os.sched_getaffinity(pid)
    assert pid == os.getsid(pid)
    assert b"CUDA_VISIBLE_DEVICES=-1" in variables
    assert not [v for v in variables if v.startswith(b"NOTIFY_SOCKET")]
    assert folder == Path(f"/proc/{pid}/cwd").readlink()
    os.kill(pid, signal.SIGKILL)
    service.cancel(job)
    service.over(job)


def test_jobs_wait_for_a_disk_that_cannot_be_written(serve, caplog) -> None:
    """One line says so; the process goes on, and nothing it wrote is lost."""
    service = serve()
    job = service.send("steps=40 ms=10")
    wait_for(lambda: size(service.history(job)) > 0)
    set_read_only(service, "ON")
    wait_for(lambda: "jobs cannot be followed: attempt to write a readonly database" in caplog.text)
    set_read_only(service, "OFF")
    done = service.over(job)
    assert (State.SUCCEEDED, 1, chain(40)) == (done.state, done.attempts, done.result.digest)
    assert [1, 2, 3] == [line.number for line in service.store.lines(job)]


def test_service_that_cannot_write_stops_all_the_same(serve, caplog) -> None:
    """And the next one, with a disk that can be written, goes on."""
    service = serve()
    job = service.send("steps=60 ms=10")
    wait_for(lambda: size(service.history(job)) > 0)
    set_read_only(service, "ON")
    service.scheduler.close()
    assert "jobs cannot be" in caplog.text
    assert [] == marked(service.scheduler.folder(job).path)
    set_read_only(service, "OFF")
    done = serve().over(job)
    assert (State.SUCCEEDED, chain(60)) == (done.state, done.result.digest)


def set_read_only(service: Service, value: str) -> None:
    """Let every change of the store fail, as on a disk that was remounted, or not any more."""
    with service.store._lock:
        service.store._connection.execute(f"PRAGMA query_only = {value}")
