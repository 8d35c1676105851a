"""Rows of the jobs' table as what they stand for."""

import sqlite3
from collections.abc import Sequence

from optimizer.serve.capacity import Grant
from optimizer.serve.job import Job, Progress, Resources, Result, State


def job_of(row: sqlite3.Row) -> Job:
    """Return the job of a row."""
    state = State(row["state"])
    made = state is State.SUCCEEDED
    return Job(
        id=row["id"],
        name=row["name"],
        reason=row["reason"],
        submitter=row["submitter"],
        state=state,
        seed=row["seed"],
        resources=Resources(row["cpus"], row["gpus"], row["memory_bytes"]),
        recipe_sha256=row["recipe_sha256"],
        created_s=row["created_s"],
        started_s=row["started_s"],
        finished_s=row["finished_s"],
        attempts=row["attempts"],
        is_cancel_requested=bool(row["is_cancel_requested"]),
        progress=Progress(row["stage"], row["done"], row["total"], row["note"]),
        result=Result(row["bundle"], row["digest"]) if made else None,
        error=row["error"],
        lines=row["lines"],
        version=row["version"],
    )


def grant_of(row: sqlite3.Row) -> Grant:
    """Return what the job of a row has."""
    return Grant(_numbers(row["cores"]), _numbers(row["devices"]), row["memory_bytes"])


def numbers_text(numbers: Sequence[int]) -> str:
    """Return numbers as a row holds them."""
    return ",".join(map(str, numbers))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)
