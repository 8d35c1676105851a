"""Jobs in words, for terminals."""

import time
from collections.abc import Sequence

from optimizer.serve.job import Job, State

_HEADER = ("JOB", "STATE", "PROGRESS", "TIME", "REASON")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def table(jobs: Sequence[Job], now_s: float | None = None) -> str:
    """Return a line for each job, below a header; `now_s` is Unix time."""
    now_s = time.time() if now_s is None else now_s
    rows = [_HEADER, *(_row(job, now_s) for job in jobs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER) - 1)]
    lines = (
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def progress_text(job: Job) -> str:
    """Return where a job is."""
    at = job.progress
    if job.state is State.QUEUED:
        return "again" if job.attempts else ""
    counted = f" {at.done}/{at.total}" if at.total else ""
    return f"{at.stage}{counted}" if job.state is State.RUNNING else ""


def summary(job: Job) -> str:
    """Return in one line how a job stands."""
    text = f"job {job.id}: {job.state.value}"
    if job.result is not None:
        return f"{text}, {job.result.bundle} {job.result.digest}"
    if job.error:
        return f"{text}: {job.error}"
    return f"{text}, asked to end" if job.is_cancel_requested and not job.state.is_final else text


def duration_text(seconds: float) -> str:
    """Return a time in its two largest units."""
    whole = max(0, round(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def _row(job: Job, now_s: float) -> tuple[str, ...]:
    began = job.created_s if job.started_s is None else job.started_s
    took = duration_text((job.finished_s or now_s) - began)
    words = {State.QUEUED: f"waits {took}", State.RUNNING: f"for {took}"}
    said = job.error or job.reason
    return job.id, job.state.value, progress_text(job), words.get(job.state, f"took {took}"), said
