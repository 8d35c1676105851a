"""The job service as a request sees it: one job for one wish, followed to its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

from headtail.errors import (
    HeadtailError,
    NotAllowed,
    OptimizerUnavailable,
    Overloaded,
    RequestInvalid,
    Unauthenticated,
    WrongState,
)
from optimizer.serve.client import JobsClient
from optimizer.serve.job import Job, Line, State
from optimizer.serve.job import Request as JobRequest
from reoptimization.outcome import Code, Stopped
from reoptimization.patience import Away, Patience
from reoptimization.request import Request

_CODES: tuple[tuple[type[HeadtailError], Code], ...] = (
    (Overloaded, Code.FULL),
    (Unauthenticated, Code.DENIED),
    (NotAllowed, Code.DENIED),
    (RequestInvalid, Code.INVALID),
    (WrongState, Code.REFUSED),
)
MAX_REASON = 500
T = TypeVar("T")


class Jobs:
    """Calls to one job service, made again while it is away."""

    def __init__(self, request: Request, patience: Patience) -> None:
        """Connect when the first call is made.

        Raises:
            ConfigError: If a file of TLS is not usable.
        """
        ends = request.ends
        self._client = JobsClient(ends.optimizer, ends.optimizer_tls)
        self._request = request
        self._patience = patience

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def check(self) -> None:
        """Ask for a job, so that a service which is away or denies us is found out."""
        self._call(lambda: self._client.jobs(limit=1))

    def submit(self, active: str, version: str) -> tuple[Job, bool]:
        """Return the job of this wish and whether it was there already.

        One that failed in an earlier request is not this one's answer: the wish gets another.

        Raises:
            Stopped: If the service refuses it.
        """
        request = self._request
        for attempt in count():
            wanted = JobRequest(
                name=request.job_name or request.model,
                recipe=request.recipe,
                seed=request.seed,
                resources=request.resources,
                reason=request.reason[:MAX_REASON],
                key=request.key(active, version, attempt),
                version=version,
            )
            job, is_known = self._call(partial(self._client.submit, wanted))
            if not (is_known and job.state in (State.FAILED, State.CANCELLED)):
                return job, is_known
        raise AssertionError

    def follow(self, job: str) -> Iterator[tuple[Job, list[Line]]]:
        """Yield a job and its new lines until it is over.

        Raises:
            Stopped: If that is not in time, or the service is away for the rest of it.
        """
        after = 0
        while True:
            watched = self._client.watch(job, after, timeout_s=self._patience.left_s)
            try:
                with _errors():
                    for found, lines in watched:
                        after = lines[-1].number if lines else after
                        yield found, lines
                        if found.state.is_final and after >= found.lines:
                            return
            except TimeoutError:
                raise Stopped(
                    Code.LATE, f"job {job} is not over in time; it goes on, and so may you"
                ) from None
            except Away:
                # Waits until it is there again.
                self._call(lambda: self._client.job(job))
            except Stopped as stopped:
                if stopped.code is not Code.FULL or not self._patience.left_s:
                    raise
                self._patience.wait(1.0)  # many watch: there is room soon

    def fetch(self, job: str, file: str, folder: Path) -> Path:
        """Write a file of a job that succeeded into a folder.

        Raises:
            Stopped: If it is not there any more.
        """
        return self._call(lambda: self._client.fetch(job, file, folder))

    def _call(self, work: Callable[[], T]) -> T:
        def once() -> T:
            with _errors():
                return work()

        return self._patience.call(once)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except OptimizerUnavailable as error:
        raise Away(str(error)) from None
    except HeadtailError as error:
        code = next((c for kind, c in _CODES if isinstance(error, kind)), Code.FAILED)
        raise Stopped(code, str(error)) from None
