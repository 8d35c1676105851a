"""Jobs as messages of headtail.v1, and back."""

from collections.abc import Iterable

from headtail.errors import RemoteFailed
from headtail.v1 import jobs_pb2 as pb
from optimizer.serve.job import Job, Line, Progress, Resources, Result, State

STATES = {
    State.QUEUED: pb.JOB_STATE_QUEUED,
    State.RUNNING: pb.JOB_STATE_RUNNING,
    State.SUCCEEDED: pb.JOB_STATE_SUCCEEDED,
    State.FAILED: pb.JOB_STATE_FAILED,
    State.CANCELLED: pb.JOB_STATE_CANCELLED,
}
_STATE_OF = {message: state for state, message in STATES.items()}
FILES = {
    "bundle": pb.JOB_FILE_BUNDLE,
    "report.json": pb.JOB_FILE_REPORT_JSON,
    "report.html": pb.JOB_FILE_REPORT_HTML,
    "report.md": pb.JOB_FILE_REPORT_MD,
    "recipe.toml": pb.JOB_FILE_RECIPE,
}
"""What can be fetched of a job, by the name that people use."""


def state_of(message: "pb.JobState.ValueType") -> State | None:
    """Return the state of a message; None where it is not known here."""
    return _STATE_OF.get(message)


def encode_resources(resources: Resources) -> pb.JobResources:
    """Return the message of resources."""
    return pb.JobResources(
        cpus=resources.cpus, gpus=resources.gpus, memory_bytes=resources.memory_bytes
    )


def decode_resources(message: pb.JobResources) -> Resources:
    """Return the resources of a message.

    Raises:
        RequestInvalid: If a number is out of range.
    """
    return Resources(message.cpus or 1, message.gpus, message.memory_bytes)


def encode_job(job: Job) -> pb.Job:
    """Return the message of a job."""
    at, made = job.progress, job.result
    return pb.Job(
        id=job.id,
        name=job.name,
        reason=job.reason,
        submitter=job.submitter,
        state=STATES[job.state],
        seed=job.seed,
        resources=encode_resources(job.resources),
        recipe_sha256=job.recipe_sha256,
        created_s=job.created_s,
        started_s=job.started_s,
        finished_s=job.finished_s,
        attempts=job.attempts,
        is_cancel_requested=job.is_cancel_requested,
        progress=pb.JobProgress(stage=at.stage, done=at.done, total=at.total, note=at.note),
        result=None if made is None else pb.JobResult(bundle=made.bundle, digest=made.digest),
        error=job.error,
        lines=job.lines,
        version=job.version,
    )


def decode_job(message: pb.Job) -> Job:
    """Return the job of a message.

    Raises:
        RemoteFailed: If it is in a state that is not known here.
    """
    at, made, state = message.progress, message.result, state_of(message.state)
    if state is None:
        raise RemoteFailed(f"job {message.id}", f"state {message.state} is not known here")
    return Job(
        id=message.id,
        name=message.name,
        reason=message.reason,
        submitter=message.submitter,
        state=state,
        seed=message.seed if message.HasField("seed") else None,
        resources=decode_resources(message.resources),
        recipe_sha256=message.recipe_sha256,
        created_s=message.created_s,
        started_s=message.started_s if message.HasField("started_s") else None,
        finished_s=message.finished_s if message.HasField("finished_s") else None,
        attempts=message.attempts,
        is_cancel_requested=message.is_cancel_requested,
        progress=Progress(at.stage, at.done, at.total, at.note),
        result=Result(made.bundle, made.digest) if message.HasField("result") else None,
        error=message.error,
        lines=message.lines,
        version=message.version,
    )


def encode_lines(lines: Iterable[Line]) -> list[pb.JobLine]:
    """Return the messages of lines."""
    return [pb.JobLine(number=at.number, time_s=at.time_s, text=at.text) for at in lines]


def decode_lines(messages: Iterable[pb.JobLine]) -> list[Line]:
    """Return the lines of messages."""
    return [Line(m.number, m.time_s, m.text) for m in messages]
