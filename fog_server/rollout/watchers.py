"""Agents that wait for directives: their calls stay open without holding a thread each."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from headtail.errors import FogUnavailable, HeadtailError, Overloaded
from headtail.v1 import control_pb2 as pb

log = logging.getLogger(__name__)

_SENDERS = 4
_RETRY_S = 5.0
Send = Callable[[pb.Directive | None], None]


class Watcher:
    """One open call; it is sent what is new, in order."""

    def __init__(self, direct: Callable[[], pb.Directive], send: Send) -> None:
        """Send what `direct` returns with `send`, which takes None for the end."""
        self._direct = direct
        self._send = send
        self._lock = threading.Lock()
        self._last: pb.Directive | None = None
        self._is_ended = False

    def update(self) -> None:
        """Send the directive if it is another than the last.

        Raises:
            HeadtailError: If there is none.
        """
        with self._lock:
            if self._is_ended:
                return
            directive = self._direct()
            if self._last is None or _matters(directive) != _matters(self._last):
                self._last = directive
                self._send(directive)

    def end(self) -> None:
        """End the call with OK."""
        with self._lock:
            if not self._is_ended:
                self._is_ended = True
                self._send(None)


class Watchers:
    """Every open call."""

    def __init__(self, max_watchers: int) -> None:
        """Let so many calls be open at once."""
        self._max = max_watchers
        self._lock = threading.Lock()
        self._are_over = threading.Condition(self._lock)
        self._watchers: set[Watcher] = set()
        self._is_closed = False
        # A client that reads nothing holds up one sender, not all.
        self._pool = ThreadPoolExecutor(_SENDERS, "directives")

    @property
    def count(self) -> int:
        """Calls open now."""
        return len(self._watchers)

    def add(self, watcher: Watcher) -> None:
        """Keep a call up to date from now on.

        Raises:
            Overloaded: If as many are open as may be.
            FogUnavailable: If the server ends.
        """
        with self._lock:
            if self._is_closed:
                raise FogUnavailable("here", "it is about to end")
            if len(self._watchers) >= self._max:
                raise Overloaded("fog", f"{self._max} agents wait already", _RETRY_S)
            self._watchers.add(watcher)

    def discard(self, watcher: Watcher) -> None:
        """Forget a call that is over."""
        with self._lock:
            self._watchers.discard(watcher)
            if self._is_closed and not self._watchers:
                self._are_over.notify_all()

    def notify(self) -> None:
        """Send everybody what is new."""
        with self._lock:
            if not self._is_closed:
                for watcher in self._watchers:
                    self._pool.submit(_update, watcher)

    def close(self) -> None:
        """End every call, soon; there will be no other."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for watcher in self._watchers:
                self._pool.submit(watcher.end)
        self._pool.shutdown(wait=False)

    def wait(self, timeout_s: float) -> bool:
        """Return whether every call is over within a time; for after `close`."""
        with self._lock:
            return self._are_over.wait_for(lambda: not self._watchers, timeout_s)


class _Matter(NamedTuple):
    """What of a directive an agent acts on; a new generation alone is no news."""

    digest: str
    role: int
    attempt: int
    shadow_digest: str
    shadow_ratio: float


def _matters(directive: pb.Directive) -> _Matter:
    return _Matter(
        directive.digest,
        directive.role,
        directive.attempt,
        directive.shadow_digest,
        directive.shadow_ratio,
    )


def _update(watcher: Watcher) -> None:
    try:
        watcher.update()
    except HeadtailError as error:
        log.warning("no directive: %s", error)
