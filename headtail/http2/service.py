"""The server's side: a thread for each connection, which runs the method on what it reads."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping

from headtail.http2.answers import Send
from headtail.http2.connection import Behavior, Limits, Served
from headtail.http2.transport import PROTOCOLS

__all__ = ["PROTOCOLS", "Behavior", "Limits", "Send", "StreamService"]
log = logging.getLogger(__name__)


class StreamService:
    """Serves calls of some methods on sockets that were accepted elsewhere."""

    def __init__(
        self,
        methods: Mapping[str, Behavior],
        limits: Limits,
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        """Begin with no connection.

        Args:
            methods: What answers calls of /SERVICE/METHOD.
            limits: What clients may do.
            tls: Returns what the next handshake uses; None is plaintext.
        """
        self._methods = methods
        self._limits = limits
        self._tls = tls
        self._changed = threading.Condition()
        self._calls: set[Served] = set()
        self._is_closed = False

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._calls)

    def take(self, accepted: socket.socket, _first: bytes = b"") -> bool:
        """Serve a connection on a thread of its own; return whether there is room for one more."""
        with self._changed:
            if self._is_closed or len(self._calls) >= self._limits.connections:
                return False
            served = Served(accepted, self._methods, self._limits, self._tls)
            self._calls.add(served)
        thread = threading.Thread(target=self._run, args=(served,), name="stream", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more
            with self._changed:
                self._calls.discard(served)
            return False
        return True

    def close(self, seconds: float = 5.0) -> None:
        """Hang up on whoever is left, and wait so long for the threads."""
        with self._changed:
            self._is_closed = True
            for served in self._calls:
                served.hang_up()
            self._changed.wait_for(lambda: not self._calls, seconds)

    def _run(self, served: Served) -> None:
        try:
            served.run()
        except Exception:
            log.exception("a stream is broken off")
        finally:
            with self._changed:
                self._calls.discard(served)
                self._changed.notify_all()
                served.close()
