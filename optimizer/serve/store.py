"""The jobs on disk: every change is one transaction, so a kill at any moment leaves no half."""

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headtail.errors import JobNotFound, Overloaded, WrongState
from optimizer.serve.capacity import Grant
from optimizer.serve.job import Job, Line, Request, State
from optimizer.serve.store_row import grant_of, job_of, numbers_text
from optimizer.serve.store_schema import open_database

RETRY_S = 30.0
"""When somebody who was refused for the length of the queue may ask again."""


class JobStore:
    """The database; one lock, so that any thread may use it."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Open the file or make it; `clock` is Unix time, in seconds.

        Raises:
            ConfigError: If it cannot be used.
        """
        self._connection = open_database(path)
        self._clock = clock
        self._lock = threading.RLock()
        self._is_open = False

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(self, request: Request, most_queued: int) -> tuple[Job, bool]:
        """Queue a job; return it, and whether an earlier request with its key had made it.

        Raises:
            WrongState: If the key belongs to another request.
            Overloaded: If as many jobs wait as may.
        """
        digest = _digest(request)
        with self.transaction():
            known = self._row("submitter = ? AND key = ?", request.submitter, request.key or None)
            if known is not None:
                if known["request_sha256"] != digest:
                    raise WrongState(
                        f"idempotency key '{request.key}'",
                        f"belongs to another request, that of job {known['id']}",
                    )
                return job_of(known), True
            if self.counts()[State.QUEUED] >= most_queued:
                raise Overloaded("optimizer", f"{most_queued} jobs wait", RETRY_S)
            identifier = f"{request.name}-{secrets.token_hex(4)}"
            self._execute(
                "INSERT INTO jobs (id, name, reason, submitter, key, request_sha256, recipe,"
                " recipe_sha256, seed, cpus, gpus, memory_bytes, version, state, created_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
                identifier,
                request.name,
                request.reason,
                request.submitter,
                request.key or None,
                digest,
                request.recipe,
                hashlib.sha256(request.recipe).hexdigest(),
                request.seed,
                request.resources.cpus,
                request.resources.gpus,
                request.resources.memory_bytes,
                request.version,
                self._clock(),
            )
            return self.get(identifier), False

    def get(self, job: str) -> Job:
        """Return a job.

        Raises:
            JobNotFound: If there is none.
        """
        return job_of(self.row(job))

    def recipe(self, job: str) -> bytes:
        """Return the recipe of a job, as it was sent.

        Raises:
            JobNotFound: If there is none.
        """
        content: bytes = self.row(job)["recipe"]
        return content

    def jobs(self, states: Sequence[State] = (), limit: int = 0) -> list[Job]:
        """Return the jobs in some states, or all, newest first."""
        chosen = [s.value for s in states or State]
        marks = ", ".join("?" * len(chosen))
        query = f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY number DESC LIMIT ?"  # noqa: S608 - question marks
        return [job_of(row) for row in self._query(query, *chosen, limit or -1)]

    def queued(self) -> list[Job]:
        """Return the jobs that wait, in the order in which they came."""
        query = "SELECT * FROM jobs WHERE state = 'queued' ORDER BY number"
        return [job_of(row) for row in self._query(query)]

    def running(self) -> list[tuple[Job, Grant]]:
        """Return the jobs that run and what each has, oldest first."""
        rows = self._query("SELECT * FROM jobs WHERE state = 'running' ORDER BY number")
        return [(job_of(row), grant_of(row)) for row in rows]

    def counts(self) -> dict[State, int]:
        """Return how many jobs are in each state."""
        rows = self._query("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")
        found = {row["state"]: row["jobs"] for row in rows}
        return {state: found.get(state.value, 0) for state in State}

    def oldest_queued_s(self) -> float | None:
        """Return when the job that waits longest was sent, in Unix time; None where none waits."""
        (row,) = self._query("SELECT min(created_s) AS at FROM jobs WHERE state = 'queued'")
        at: float | None = row["at"]
        return at

    def start(self, job: str, grant: Grant) -> bool:
        """Note that a job's process is about to start; return whether it still waits."""
        return self._change(
            "UPDATE jobs SET state = 'running', started_s = coalesce(started_s, ?),"
            " attempts = attempts + 1, cores = ?, devices = ?"
            " WHERE id = ? AND state = 'queued'",
            self._clock(),
            numbers_text(grant.cores),
            numbers_text(grant.gpus),
            job,
        )

    def requeue(self, job: str, *, is_crash: bool) -> bool:
        """Let a job that ran wait for its process to be started again."""
        return self._change(
            "UPDATE jobs SET state = 'queued', cores = '', devices = '', crashes = crashes + ?"
            " WHERE id = ? AND state = 'running'",
            int(is_crash),
            job,
        )

    def succeed(self, job: str, bundle: str, digest: str) -> bool:
        """Note that a job that runs has made its bundle."""
        return self._change(
            "UPDATE jobs SET state = 'succeeded', finished_s = ?, bundle = ?, digest = ?,"
            " cores = '', devices = '' WHERE id = ? AND state = 'running'",
            self._clock(),
            bundle,
            digest,
            job,
        )

    def fail(self, job: str, error: str) -> bool:
        """Note that a job is over without a bundle."""
        return self._end(job, State.FAILED, error)

    def cancel(self, job: str) -> bool:
        """Note that a job is over because somebody asked for it."""
        return self._end(job, State.CANCELLED, "")

    def request_cancel(self, job: str) -> Job:
        """Ask a job to end; one that waits is over at once.

        Raises:
            JobNotFound: If there is none.
        """
        with self.transaction():
            found = self.get(job)
            if not found.state.is_final:
                self._execute("UPDATE jobs SET is_cancel_requested = 1 WHERE id = ?", job)
            if found.state is State.QUEUED:
                self.cancel(job)
            return self.get(job)

    def lines(self, job: str, after: int = 0, limit: int = 1000) -> list[Line]:
        """Return lines of a job's log that are kept, from the one after `after` on."""
        query = (
            "SELECT lines.* FROM lines JOIN jobs ON jobs.number = lines.job"
            " WHERE jobs.id = ? AND lines.number > ? ORDER BY lines.number LIMIT ?"
        )
        rows = self._query(query, job, min(after, 1 << 62), limit)
        return [Line(row["number"], row["time_s"], row["text"]) for row in rows]

    def oldest_over(self, most: int) -> list[str]:
        """Return the oldest jobs that are over, as many as there are jobs beyond `most`."""
        beyond = sum(self.counts().values()) - most
        query = (
            "SELECT id FROM jobs WHERE state NOT IN ('queued', 'running') ORDER BY number LIMIT ?"
        )
        return [row["id"] for row in self._query(query, max(0, beyond))]

    def delete(self, job: str) -> None:
        """Delete a job with its lines."""
        self.execute("DELETE FROM jobs WHERE id = ?", job)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of the block, or none; blocks may lie within another."""
        with self._lock:
            if self._is_open:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._is_open = True
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                self._is_open = False
                if self._connection.in_transaction:  # the block or the commit failed
                    self._connection.execute("ROLLBACK")

    def row(self, job: str) -> sqlite3.Row:
        """Return a job's row.

        Raises:
            JobNotFound: If there is none.
        """
        row = self._row("id = ?", job)
        if row is None:
            raise JobNotFound(job)
        return row

    def execute(self, statement: str, *values: Any) -> int:
        """Run a statement in a transaction; return how many rows it changed."""
        with self.transaction():
            return self._execute(statement, *values)

    def _end(self, job: str, state: State, error: str) -> bool:
        return self._change(
            "UPDATE jobs SET state = ?, error = ?, finished_s = ?, cores = '', devices = ''"
            " WHERE id = ? AND state IN ('queued', 'running')",
            state.value,
            error,
            self._clock(),
            job,
        )

    def _change(self, statement: str, *values: Any) -> bool:
        return self.execute(statement, *values) == 1

    def _execute(self, statement: str, *values: Any) -> int:
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    def _row(self, where: str, *values: Any) -> sqlite3.Row | None:
        rows = self._query(f"SELECT * FROM jobs WHERE {where}", *values)  # noqa: S608 - our own text
        return rows[0] if rows else None

    def _query(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()


def _digest(request: Request) -> str:
    wanted = request.resources
    fields = (request.name, request.seed, wanted.cpus, wanted.gpus, wanted.memory_bytes)
    version = request.version.encode()  # where it is empty, the digest is that of older services
    return hashlib.sha256(repr(fields).encode() + version + request.recipe).hexdigest()
