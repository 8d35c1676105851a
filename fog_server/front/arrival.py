"""A connection of which nobody knows yet whose it is: its first bytes are looked at, not taken."""

import socket
from collections.abc import Callable

from fog_server.front.poller import ENDED, FAILED, ONCE, READ, Poller
from fog_server.front.verdict import Mark, Verdict

Decide = Callable[["Arrival", bytes, Verdict], None]
"""Called once, with the first bytes and whose they are."""


class Arrival:
    """Looks when something has come, and again when as much has come as says more.

    Bytes that are only looked at stay readable: told of states, the thread would never rest.
    """

    def __init__(
        self, sock: socket.socket, peer: str, mark: Mark, most_bytes: int, decide: Decide
    ) -> None:
        """Prepare.

        Args:
            sock: Accepted; does not block.
            peer: Who is there, in gRPC's notation.
            mark: Tells whose first bytes are.
            most_bytes: How many are looked at.
            decide: Is told; with no bytes if the connection broke off or ended without any.
        """
        self.socket = sock
        self.peer = peer
        self._mark = mark
        self._most_bytes = most_bytes
        self._decide = decide
        self._awaited = 1

    def begin(self, poller: Poller) -> None:
        """Look from now on.

        Raises:
            OSError: If the system watches no more sockets.
        """
        poller.add(self.socket, READ | ENDED | ONCE, self._look)

    def wait_for(self, count: int) -> None:
        """Let the system report the socket once so many bytes are there.

        To say so again would be reported at once where it reports fewer, being short of memory.
        """
        if count != self._awaited:
            self._awaited = count
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _look(self, events: int) -> None:
        data = b"" if events & FAILED else self._peek()
        if data is None:
            return
        verdict = self._mark(data) if data else Verdict.OTHER
        if isinstance(verdict, Verdict):
            self._decide(self, data, verdict)
        elif events & ENDED:  # no more will come
            self._decide(self, data, Verdict.OTHER)
        else:
            self.wait_for(verdict)

    def _peek(self) -> bytes | None:
        try:
            return self.socket.recv(self._most_bytes, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return b""
