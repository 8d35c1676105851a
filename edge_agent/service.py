"""The agent as a service: ready, alive and ending, as systemd and the probes are told."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from headtail.liveness import STALL_S, Check, Heartbeat, Progress, Threads, first_of
from headtail.systemd import Notifier

LIVE, READY = "/livez", "/readyz"


class Work(Protocol):
    """Windows in the hands of the agent."""

    @property
    def underway(self) -> int:
        """Windows begun and not yet taken."""
        ...

    @property
    def written(self) -> int:
        """Windows taken since the start."""
        ...


class Service:
    """What the service manager and the probes hear of a run.

    Ready: the bundle has passed its self-test, source and sink are open. Alive: no thread has died,
    and windows under way come to an end; an agent that waits for its source or whose fog is away
    is alive.
    """

    def __init__(self, manager: Notifier, deadline_s: float) -> None:
        """Begin as not ready.

        Args:
            manager: Told of every change.
            deadline_s: A window's: it may take as long before it is looked at.
        """
        self._manager = manager
        self._stall_s = (manager.watchdog_s or STALL_S) + deadline_s
        self._threads = Threads()
        self._check: Check = self._threads.check
        self._not_ready: str | None = "starting"

    @property
    def probes(self) -> Mapping[str, Check]:
        """The checks by path of the metrics page."""
        return {LIVE: self.check_live, READY: self.check_ready}

    def check_live(self) -> str | None:
        """Return what is stuck, or None."""
        return self._check()

    def check_ready(self) -> str | None:
        """Return why no window is taken, or None."""
        return self._not_ready

    @contextmanager
    def starting(self) -> Iterator["Service"]:
        """See threads die from now on."""
        with self._threads.watched():
            yield self

    @contextmanager
    def running(self, work: Work, status: Callable[[], str]) -> Iterator[None]:
        """Be ready, and tell that the agent is alive while it is; say so when it ends."""
        progress = Progress(
            "windows",
            lambda: work.underway,
            lambda: work.written,
            self._stall_s,
            time.monotonic,
        )
        self._check = first_of([self._threads.check, progress.check])
        self._not_ready = None
        self._manager.ready(status())
        try:
            with Heartbeat(self._manager, self.check_live, status):
                yield
        finally:
            self._not_ready = "stopping"
            self._manager.stopping()
