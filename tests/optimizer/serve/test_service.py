"""The service over gRPC, with jobs of the small program, and the commands that ask it."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serve_case import GIB, command, request, wait_for

from headtail.errors import (
    ConfigError,
    JobNotFound,
    OptimizerUnavailable,
    Overloaded,
    RequestInvalid,
    WrongState,
)
from headtail.v1 import jobs_pb2 as pb
from headtail.v1.jobs_pb2_grpc import JobsStub
from optimizer.serve.client import JobsClient
from optimizer.serve.config import Config
from optimizer.serve.job import Resources, State
from optimizer.serve.server import JobService


@pytest.fixture
def client(start) -> Iterator[JobsClient]:
    """Return a client of a running service."""
    made = JobsClient(start().address)
    yield made
    made.close()


def last_of(client: JobsClient, job: str):
    """Watch a job until it is over; return its last state and all lines."""
    lines = []
    last = None
    for last, more in client.watch(job, timeout_s=60):  # noqa: B007 - the last one is returned
        lines += more
    return last, [line.text for line in lines]


def test_job_goes_from_recipe_to_file(client, tmp_path) -> None:
    """Sent, watched, listed, its log read, its files fetched."""
    sent = request("steps=4", reason="why not", key="k", seed=7)
    job, is_known = client.submit(sent)
    assert (State.QUEUED, False, "127.0.0.1") == (job.state, is_known, job.submitter)
    done, lines = last_of(client, job.id)
    assert State.SUCCEEDED is done.state
    assert ("why not", 7, Resources(1, 0, GIB)) == (done.reason, done.seed, done.resources)
    assert [done] == client.jobs() == client.jobs([State.SUCCEEDED])
    assert [] == client.jobs([State.RUNNING])
    assert done == client.job(job.id)
    assert lines == [line.text for line in client.lines(job.id)]
    assert lines[-2:] == [line.text for line in client.lines(job.id, last=2)]
    assert "done" == lines[-1]
    path = client.fetch(job.id, "bundle", tmp_path / "out")
    assert tmp_path / "out" / "chain-1.bundle" == path
    assert done.result.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert b"{}" == client.fetch(job.id, "report.json", tmp_path / "out").read_bytes()
    assert sent.recipe == client.fetch(job.id, "recipe.toml", tmp_path / "out").read_bytes()
    assert (done, True) == client.submit(sent)


def test_progress_is_seen_as_it_is_made(client) -> None:
    """Not only at the end; each line once, in order."""
    job, _ = client.submit(request("steps=40 ms=40"))
    seen, numbers = [], []
    for found, lines in client.watch(job.id, timeout_s=60):
        seen.append((found.state, found.progress.done))
        numbers += [line.number for line in lines]
    assert (State.SUCCEEDED, 40) == seen[-1]
    assert [n for _, n in seen] == sorted(n for _, n in seen)
    assert [(s, n) for s, n in seen if s is State.RUNNING and 0 < n < 40]
    assert [1, 2, 3] == numbers


def test_cancel_is_told_to_who_watches(client) -> None:
    job, _ = client.submit(request("steps=9999 ms=50"))
    wait_for(lambda: client.job(job.id).progress.done)
    cancelled = client.cancel(job.id)
    assert cancelled.is_cancel_requested
    assert State.CANCELLED is last_of(client, job.id)[0].state
    assert State.CANCELLED is client.cancel(job.id).state


def test_watch_and_calls_go_on_over_a_restart(start, tmp_path) -> None:
    """The job goes on from where it was; no line comes twice."""
    service = start()
    client = JobsClient(service.address, retry_s=60)
    job, _ = client.submit(request("steps=60 ms=20"))
    seen = []
    watching = threading.Thread(target=lambda: seen.extend(client.watch(job.id, timeout_s=60)))
    watching.start()
    wait_for(lambda: client.job(job.id).progress.done)
    service.close()
    start(service.address)
    assert State.QUEUED is not client.job(job.id).state or client.job(job.id).attempts
    watching.join(60)
    done, _ = seen[-1]
    assert (State.SUCCEEDED, 2) == (done.state, done.attempts)
    numbers = [line.number for _, lines in seen for line in lines]
    assert list(range(1, done.lines + 1)) == numbers
    client.close()


def test_unknown_job_is_named_by_every_call(client, tmp_path) -> None:
    for call in (
        client.job,
        client.cancel,
        lambda job: next(client.watch(job)),
        lambda job: next(client.lines(job)),
        lambda job: client.fetch(job, "bundle", tmp_path),
    ):
        with pytest.raises(JobNotFound, match=r"^job 'nosuch': not kept here"):
            call("nosuch")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"resources": Resources(2)}, "resources, cpus: expected at most 1, received 2"),
        ({"recipe": b"name = 3"}, r"recipe: Expected `str`, got `int` - at `\$.name`"),
    ],
    ids=["resources", "recipe"],
)
def test_request_that_cannot_be_met_says_why(wrong, text, client) -> None:
    """Once, and in one line."""
    with pytest.raises(RequestInvalid, match=rf"^optimizer 127\S+: request refused: {text}$"):
        client.submit(request(**wrong))
    assert [] == client.jobs()


def test_only_a_job_that_succeeded_has_files(client, tmp_path) -> None:
    job, _ = client.submit(request("end=error"))
    assert "no such data" == last_of(client, job.id)[0].error
    with pytest.raises(WrongState, match="expected succeeded, it is failed"):
        client.fetch(job.id, "bundle", tmp_path / "out")
    assert [] == list((tmp_path / "out").glob("*")), "nothing half-written is left"
    made, _ = client.submit(request())
    last_of(client, made.id)
    with pytest.raises(WrongState, match=r"report\.html: the job has no such file"):
        client.fetch(made.id, "report.html", tmp_path / "out")
    with pytest.raises(ConfigError, match="cannot be written"):
        client.fetch(made.id, "bundle", Path("/proc/nowhere"))


def test_key_with_another_request_is_refused(client) -> None:
    client.submit(request(key="k"))
    with pytest.raises(WrongState, match="belongs to another request"):
        client.submit(request("steps=4", key="k"))


def test_two_operators_at_once_with_one_key_get_one_job(client) -> None:
    """As when an alert fires twice."""
    jobs: list[str] = []
    threads = [
        threading.Thread(target=lambda: jobs.append(client.submit(request(key="k"))[0].id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (8, 1, 1) == (len(jobs), len(set(jobs)), len(client.jobs()))


def test_full_queue_and_full_disk_are_refused(start) -> None:
    """With when to try again; what there is goes on."""
    with_client = JobsClient(start(queued=1).address)
    running, _ = with_client.submit(request("steps=9999 ms=50"))
    wait_for(lambda: with_client.job(running.id).state is State.RUNNING)
    with_client.submit(request())
    with pytest.raises(Overloaded, match=r"overloaded: 1 jobs wait; retry in 30\.000 s$") as caught:
        with_client.submit(request())
    assert 30.0 == caught.value.retry_delay_s
    with_client.close()


def test_disk_without_room_takes_no_job(start) -> None:
    client = JobsClient(start(free_bytes=1 << 60).address)
    with pytest.raises(Overloaded, match=r"overloaded: its disk has \d+ MiB left"):
        client.submit(request())
    assert [] == client.jobs()
    client.close()


def test_only_so_many_watch(start) -> None:
    """One too many is refused, and unary calls have threads of their own."""
    client = JobsClient(start(watchers=1).address)
    job, _ = client.submit(request("steps=9999 ms=50"))
    first = client.watch(job.id)
    next(first)
    with pytest.raises(Overloaded, match="1 calls watch or read"):
        next(client.watch(job.id))
    assert job.id == client.job(job.id).id
    first.close()
    client.close()


def test_service_that_is_away_is_named() -> None:
    client = JobsClient("127.0.0.1:1")
    with pytest.raises(OptimizerUnavailable, match=r"^optimizer 127\.0\.0\.1:1: unavailable: "):
        client.jobs()
    client.close()


def test_health_is_that_of_the_jobs_service(start) -> None:
    with grpc.insecure_channel(start().address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for name in ("", "headtail.v1.Jobs", "liveness"):
            answer = check(health_pb2.HealthCheckRequest(service=name), timeout=20)
            assert health_pb2.HealthCheckResponse.SERVING == answer.status


def test_malformed_and_unknown_values_are_invalid_arguments(start) -> None:
    """Nothing is INTERNAL that a caller got wrong."""
    with grpc.insecure_channel(start().address) as channel:
        stub = JobsStub(channel)
        raw = channel.unary_unary("/headtail.v1.Jobs/SubmitJob")
        for call in (
            lambda: raw(b"\xff\xff", timeout=20),
            lambda: stub.ListJobs(pb.ListJobsRequest(states=[99]), timeout=20),
            lambda: stub.SubmitJob(pb.SubmitJobRequest(recipe="", name="../x"), timeout=20),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()


def test_state_folder_has_one_service(start, tmp_path) -> None:
    start()
    with pytest.raises(ConfigError, match="state: another service uses"):
        start()
    with pytest.raises(ConfigError, match="name the folder of jobs with --state DIR"):
        JobService(Config(), command=command)
    with pytest.raises(ConfigError, match="'/proc/none' cannot be used"):
        JobService(Config(state="/proc/none"), command=command)
    with pytest.raises(ConfigError, match="is not this machine"):
        JobService(Config(state=str(tmp_path / "b"), listen="0.0.0.0:0"), command=command)
    with pytest.raises(ConfigError, match="paths: expected absolute paths of folders"):
        JobService(Config(state=str(tmp_path / "c"), paths=("data",)), command=command)
