"""The gRPC service of jobs: requests checked and stored, jobs shown, files sent."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from headtail.errors import OptimizerUnavailable, Overloaded, RequestInvalid, WrongState
from headtail.server.authorization import certified
from headtail.server.peer import peer_host
from headtail.v1 import jobs_pb2 as pb
from headtail.v1 import jobs_pb2_grpc
from optimizer.serve.capacity import Machine
from optimizer.serve.changes import Changes
from optimizer.serve.config import Limits
from optimizer.serve.folder import JobFolder
from optimizer.serve.job import Line, Request, State
from optimizer.serve.messages import FILES, decode_resources, encode_job, encode_lines, state_of
from optimizer.serve.recipe_check import RecipeRules
from optimizer.serve.scheduler import Scheduler
from optimizer.serve.status import WHERE
from optimizer.serve.store import RETRY_S, JobStore

CHUNK_BYTES = 256 << 10
LINES_AT_ONCE = 500
LOOK_S = 1.0
"""How soon a call notices that its caller has gone."""
_NAMES = {file: name for name, file in FILES.items()}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the servicer works with."""

    store: JobStore
    scheduler: Scheduler
    changes: Changes
    machine: Machine
    rules: RecipeRules
    limits: Limits
    folder: Path
    """Of all jobs, for the free space of its disk."""


class JobsServicer(jobs_pb2_grpc.JobsServicer):
    """headtail.v1.Jobs; errors are turned into statuses by who registers it."""

    def __init__(self, desk: Desk) -> None:
        """Take what to work with."""
        self._desk = desk
        self._places = threading.BoundedSemaphore(desk.limits.watchers)

    def SubmitJob(  # noqa: N802 - the service's name for it
        self, request: pb.SubmitJobRequest, context: grpc.ServicerContext
    ) -> pb.SubmitJobResponse:
        """Check a request and queue it."""
        desk = self._desk
        if desk.changes.is_closed:
            raise OptimizerUnavailable("service", "it is stopping")
        text = request.recipe.encode()
        recipe = desk.rules.check(text)
        wanted = Request(
            name=request.name or recipe.name,
            recipe=text,
            seed=request.seed if request.HasField("seed") else None,
            resources=desk.machine.fill(decode_resources(request.resources)),
            reason=request.reason,
            key=request.idempotency_key,
            submitter=_caller(context),
            version=request.version,
        )
        free = shutil.disk_usage(desk.folder).free
        if free < desk.limits.free_bytes:
            raise Overloaded(WHERE, f"its disk has {free >> 20} MiB left", RETRY_S)
        job, is_known = desk.store.add(wanted, desk.limits.queued)
        desk.scheduler.wake()
        desk.changes.announce()
        return pb.SubmitJobResponse(job=encode_job(job), is_known=is_known)

    def ListJobs(  # noqa: N802 - the service's name for it
        self, request: pb.ListJobsRequest, context: grpc.ServicerContext
    ) -> pb.ListJobsResponse:
        """List jobs, newest first."""
        states = [state for s in request.states if (state := state_of(s)) is not None]
        if len(states) < len(request.states):
            raise RequestInvalid("states", "holds one that is not known here")
        jobs = self._desk.store.jobs(states, request.limit)
        return pb.ListJobsResponse(jobs=[encode_job(job) for job in jobs])

    def GetJob(  # noqa: N802 - the service's name for it
        self, request: pb.GetJobRequest, context: grpc.ServicerContext
    ) -> pb.Job:
        """Return a job."""
        return encode_job(self._desk.store.get(request.id))

    def CancelJob(  # noqa: N802 - the service's name for it
        self, request: pb.CancelJobRequest, context: grpc.ServicerContext
    ) -> pb.Job:
        """Ask a job to end."""
        job = self._desk.store.request_cancel(request.id)
        self._desk.scheduler.wake()
        self._desk.changes.announce()
        return encode_job(job)

    def WatchJob(  # noqa: N802 - the service's name for it
        self, request: pb.WatchJobRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchJobResponse]:
        """Send a job and its lines until it is over."""
        store, changes = self._desk.store, self._desk.changes
        after, shown = request.after_line, None
        with self._place():
            while context.is_active():
                seen = changes.number
                job = store.get(request.id)  # before its lines: a final one has them all
                lines = store.lines(job.id, after, LINES_AT_ONCE)
                if job != shown or lines:
                    yield pb.WatchJobResponse(job=encode_job(job), lines=encode_lines(lines))
                    after, shown = lines[-1].number if lines else after, job
                if len(lines) == LINES_AT_ONCE:
                    continue
                if job.state.is_final:
                    return
                if changes.is_closed:
                    raise OptimizerUnavailable("service", "it is stopping; the job goes on with it")
                changes.wait(seen, LOOK_S)

    def ReadJobLog(  # noqa: N802 - the service's name for it
        self, request: pb.ReadJobLogRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ReadJobLogResponse]:
        """Send the lines that are kept."""
        with self._place():
            job, after = self._desk.store.get(request.id), request.after_line
            if request.last:
                after = max(after, job.lines - request.last)
            while lines := self._lines(job.id, after, job.lines):
                yield pb.ReadJobLogResponse(lines=encode_lines(lines))
                after = lines[-1].number

    def FetchJobFile(  # noqa: N802 - the service's name for it
        self, request: pb.FetchJobFileRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.FetchJobFileResponse]:
        """Send what a file is, then the file."""
        with self._place():
            job = self._desk.store.get(request.id)
            folder = self._desk.scheduler.folder(job.id)
            if request.file == pb.JOB_FILE_RECIPE:
                yield from _send(folder.recipe.name, self._desk.store.recipe(job.id))
                return
            if job.state is not State.SUCCEEDED or job.result is None:
                raise WrongState(f"job {job.id}", f"expected succeeded, it is {job.state.value}")
            yield from _send_file(_path(folder, request.file, job.result.bundle))

    def _lines(self, job: str, after: int, last: int) -> list[Line]:
        lines = self._desk.store.lines(job, after, LINES_AT_ONCE)
        return [line for line in lines if line.number <= last]

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Overloaded(WHERE, f"{self._desk.limits.watchers} calls watch or read", RETRY_S)
        try:
            yield
        finally:
            self._places.release()


def _caller(context: grpc.ServicerContext) -> str:
    caller = certified.get()
    return peer_host(context.peer()) if caller is None else str(caller.peer.identity)


def _path(folder: JobFolder, file: "pb.JobFile.ValueType", bundle: str) -> Path:
    if file == pb.JOB_FILE_BUNDLE:
        return folder.run / bundle
    if file not in _NAMES:
        raise RequestInvalid("file", f"number {file} is not known here")
    return folder.run / _NAMES[file]


def _send_file(path: Path) -> Iterator[pb.FetchJobFileResponse]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            file.seek(0)
            info = pb.JobFileInfo(name=path.name, size_bytes=size, sha256=digest)
            yield pb.FetchJobFileResponse(info=info)
            while chunk := file.read(CHUNK_BYTES):
                yield pb.FetchJobFileResponse(chunk=chunk)
    except FileNotFoundError as error:
        raise WrongState(path.name, "the job has no such file any more") from error


def _send(name: str, content: bytes) -> Iterator[pb.FetchJobFileResponse]:
    digest = hashlib.sha256(content).hexdigest()
    info = pb.JobFileInfo(name=name, size_bytes=len(content), sha256=digest)
    yield pb.FetchJobFileResponse(info=info)
    yield pb.FetchJobFileResponse(chunk=content)
