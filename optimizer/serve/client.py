"""The job service as its clients see it: jobs and lines, and errors of ours."""

import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc

from headtail.bundle.manifest import MAX_BUNDLE_BYTES
from headtail.errors import ConfigError, HeadtailError, OptimizerUnavailable, RemoteFailed
from headtail.server.border import RETRY_DELAY
from headtail.tls import ClientTls, secure_channel
from headtail.v1 import jobs_pb2 as pb
from headtail.v1.jobs_pb2_grpc import JobsStub
from optimizer.serve.job import Job, Line, Request, State
from optimizer.serve.messages import (
    FILES,
    STATES,
    decode_job,
    decode_lines,
    encode_resources,
)
from optimizer.serve.status import make_error

CALL_S, FETCH_S = 20.0, 600.0
"""Longest call, and longest fetch."""
RETRY_PAUSE_S = 0.5
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")
T = TypeVar("T")


class JobsClient:
    """Calls to one service; while it is away a call is made again for some time."""

    def __init__(
        self,
        address: str,
        tls: ClientTls | None = None,
        retry_s: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect when the first call is made.

        Args:
            address: HOST:PORT.
            tls: Files of mutual TLS; None is plaintext.
            retry_s: How long calls are made again while the service is away, in seconds.
            sleep: Waits between two tries.
            clock: Monotonic seconds.

        Raises:
            ConfigError: If a file of `tls` is not usable.
        """
        self._address = address
        self._channel = secure_channel(
            address,
            tls,
            [
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.enable_retries", 0),
            ],
        )
        self._stub = JobsStub(self._channel)
        self._retry_s = retry_s
        self._sleep = sleep
        self._clock = clock

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def submit(self, request: Request) -> tuple[Job, bool]:
        """Queue a job; return it, and whether the key was known. Give a key: calls are repeated.

        Raises:
            HeadtailError: As the service says it, or OptimizerUnavailable.
        """
        message = pb.SubmitJobRequest(
            recipe=request.recipe.decode(),
            name=request.name,
            seed=request.seed,
            resources=encode_resources(request.resources),
            reason=request.reason,
            idempotency_key=request.key,
            version=request.version,
        )
        answer = self._again(lambda: self._stub.SubmitJob(message, timeout=CALL_S))
        return decode_job(answer.job), answer.is_known

    def jobs(self, states: Sequence[State] = (), limit: int = 0) -> list[Job]:
        """Return jobs, newest first."""
        message = pb.ListJobsRequest(states=[STATES[s] for s in states], limit=limit)
        answer = self._again(lambda: self._stub.ListJobs(message, timeout=CALL_S))
        return [decode_job(job) for job in answer.jobs]

    def job(self, job: str) -> Job:
        """Return one job.

        Raises:
            JobNotFound: If there is none.
        """
        message = pb.GetJobRequest(id=job)
        return decode_job(self._again(lambda: self._stub.GetJob(message, timeout=CALL_S), job))

    def cancel(self, job: str) -> Job:
        """Ask a job to end, and return it.

        Raises:
            JobNotFound: If there is none.
        """
        message = pb.CancelJobRequest(id=job)
        return decode_job(self._again(lambda: self._stub.CancelJob(message, timeout=CALL_S), job))

    def watch(
        self, job: str, after: int = 0, timeout_s: float | None = None
    ) -> Iterator[tuple[Job, list[Line]]]:
        """Yield the job and its new lines until it is over, over restarts of the service.

        Raises:
            JobNotFound: If there is none.
            OptimizerUnavailable: If the service is away for longer than `retry_s`.
            TimeoutError: If the job is not over in time.
        """
        give_up_at = None if timeout_s is None else self._clock() + timeout_s
        away_since: float | None = None
        while True:
            left = None if give_up_at is None else max(0.0, give_up_at - self._clock())
            try:
                with self._errors(job):
                    message = pb.WatchJobRequest(id=job, after_line=after)
                    for answer in self._stub.WatchJob(message, timeout=left):
                        away_since = None
                        found, lines = decode_job(answer.job), decode_lines(answer.lines)
                        after = lines[-1].number if lines else after
                        yield found, lines
                        if found.state.is_final and after >= found.lines:
                            return
            except OptimizerUnavailable:
                now = self._clock()
                if give_up_at is not None and now >= give_up_at:
                    raise TimeoutError(f"job {job} is not over after {timeout_s:g} s") from None
                away_since = now if away_since is None else away_since
                if now - away_since >= self._retry_s:
                    raise
            self._sleep(RETRY_PAUSE_S)

    def lines(self, job: str, last: int = 0) -> Iterator[Line]:
        """Yield the lines of a job's log that are kept, or only the last ones.

        Raises:
            JobNotFound: If there is none.
        """
        message = pb.ReadJobLogRequest(id=job, last=last)
        with self._errors(job):
            for answer in self._stub.ReadJobLog(message, timeout=FETCH_S):
                yield from decode_lines(answer.lines)

    def fetch(self, job: str, file: str, folder: Path) -> Path:
        """Write a file of a job into a folder, in one step, and return its path.

        Args:
            job: Whose.
            file: One of `FILES`.
            folder: Made where it does not exist.

        Raises:
            JobNotFound: If there is no such job.
            WrongState: If it has not succeeded.
            RemoteFailed: If what came is not what was announced.
            ConfigError: If the folder cannot be written.
        """
        message = pb.FetchJobFileRequest(id=job, file=FILES[file])
        with self._errors(job):
            answers = self._stub.FetchJobFile(message, timeout=FETCH_S)
            info = next(answers, pb.FetchJobFileResponse()).info
            if info.size_bytes > MAX_BUNDLE_BYTES or not _NAME.fullmatch(info.name):
                raise RemoteFailed(f"optimizer {self._address}", f"sends no file: {info.name!r}")
            try:
                return _write(folder, info, (answer.chunk for answer in answers))
            except OSError as error:
                reason = error.strerror or error
                raise ConfigError(str(folder), f"cannot be written: {reason}") from error

    def _again(self, call: Callable[[], T], job: str = "") -> T:
        give_up_at = self._clock() + self._retry_s
        while True:
            try:
                with self._errors(job):
                    return call()
            except OptimizerUnavailable:
                if self._clock() >= give_up_at:
                    raise
            self._sleep(RETRY_PAUSE_S)

    @contextmanager
    def _errors(self, job: str) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise self._error(error, job) from None

    def _error(self, error: Any, job: str) -> HeadtailError:
        metadata = dict(error.trailing_metadata() or ())
        delay_s = float(metadata.get(RETRY_DELAY, 0)) / 1e3
        return make_error(error.code(), error.details() or "", self._address, job, delay_s)


def _write(folder: Path, info: pb.JobFileInfo, chunks: Iterator[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{info.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            for chunk in chunks:
                size += len(chunk)
                digest.update(chunk)
                file.write(chunk)
                if size > info.size_bytes:
                    break
            file.flush()
            if (size, digest.hexdigest()) != (info.size_bytes, info.sha256):
                raise RemoteFailed(
                    info.name, f"announced {info.size_bytes} bytes and sent {size}, or others"
                )
            temporary.chmod(0o644)
            return temporary.replace(folder / info.name)
        finally:
            temporary.unlink(missing_ok=True)
