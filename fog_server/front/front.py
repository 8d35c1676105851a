"""The public port: it hands our agents' streams over and relays everything else to gRPC.

Streams of ours are read by threads of our own, which is several times cheaper than through grpcio.
They are told from other connections by their first bytes, which stay where they are.
"""

import errno
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fog_server.front.arrival import Arrival
from fog_server.front.deadlines import Deadlines
from fog_server.front.listening import Listeners, listen_on
from fog_server.front.plain_mark import MARKED_BYTES, plain_verdict
from fog_server.front.poller import Poller
from fog_server.front.relay import CHUNK_BYTES, Relay
from fog_server.front.tls_mark import MAX_HELLO_BYTES, tls_verdict
from fog_server.front.verdict import Verdict
from headtail.server.origin import origins, peer_text

log = logging.getLogger(__name__)

Take = Callable[[socket.socket, bytes], bool]
"""Takes a connection of ours, which blocks, with its first bytes, which are still to be read.

It returns False if there are too many already; the connection is then relayed like any other. It is
called on the front's thread and must not wait for anything.
"""
_ENDING_S = 60.0  # as long as Linux keeps a connection of which only one side has ended
_SILENT_S = 0.5  # for each step that a client takes to have the rest, once the front closes
_CLOSING_S = 1.0  # and for all of them, which leaves time within what a worker may take to end


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how many."""

    handshake_s: float
    """Longest time until a connection has said whose it is, and again until gRPC has answered."""
    max_connections: int
    """Connections at once, but for those that were handed over. One more takes the place of the
    one that has said nothing for longest; where all have, it is accepted and closed at once: left
    in the system's queue it would hang instead of trying another worker."""


@dataclass(slots=True)
class Counts:
    """What has become of connections since the start."""

    handed: int = 0
    relayed: int = 0
    refused: int = 0
    """Over the bound."""
    silent: int = 0
    """Closed because they did not say in time whose they are, or before another took the place."""
    failed: int = 0
    """Closed because gRPC did not answer, or because the system had no room."""


class Front:
    """Listens from construction, accepts from `start`."""

    def __init__(
        self,
        listen: str,
        upstream: tuple[str, int],
        take: Take,
        bounds: Bounds,
        *,
        is_tls: bool = False,
        is_shared: bool = False,
    ) -> None:
        """Listen.

        Args:
            listen: HOST:PORT; port 0 takes a free one.
            upstream: Where gRPC listens, on 127.0.0.1.
            take: Takes streams of ours.
            bounds: Of connections.
            is_tls: Whether gRPC speaks TLS there. Then only a ClientHello can be marked, so that
                nobody passes by the handshake; else only plaintext.
            is_shared: Whether others may listen there too.

        Raises:
            ConfigError: If the address is none, or is taken.
        """
        sockets, self.address = listen_on(listen, "--listen", is_shared=is_shared)
        self._poller = Poller("front")
        self._listeners = Listeners(sockets, self._poller, self._admit)
        self._upstream = upstream
        self._take = take
        self._bounds = bounds
        self._mark, self._most_bytes = (
            (tls_verdict, MAX_HELLO_BYTES) if is_tls else (plain_verdict, MARKED_BYTES)
        )
        self.counts = Counts()
        self._open: set[Arrival | Relay] = set()
        self._is_full = self._is_closing = self._is_finishing = False
        self._is_empty = threading.Event()
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        self._unsure = Deadlines[Arrival](bounds.handshake_s, self._give_up)
        self._unanswered = Deadlines[Relay](bounds.handshake_s, self._abandon)
        self._ending = Deadlines[Relay](_ENDING_S, Relay.reset)
        self._finishing = Deadlines[Relay](_SILENT_S, Relay.close)
        for deadlines in (self._unsure, self._unanswered, self._ending, self._finishing):
            self._poller.look_after(deadlines)

    @property
    def open(self) -> int:
        """Connections that are held now: relayed, or of unknown kind."""
        return len(self._open)

    def start(self) -> None:
        """Accept connections from now on."""
        self._listeners.begin()
        self._poller.start()

    def stop_listening(self) -> None:
        """Have the system refuse new connections; those that are open go on."""
        self._is_closing = True
        if not self._poller.call(self._listeners.end):
            self._listeners.end()

    def close(self) -> None:
        """End what is relayed, and the thread; what was handed over goes on.

        Clients are let have what gRPC has sent, if they take it.
        """
        self.stop_listening()
        if self._poller.call(self._finish_all):
            self._is_empty.wait(_CLOSING_S)
        self._poller.call(self._end_all)
        self._poller.close()
        if not self._poller.is_running:
            self._end_all()

    def check(self) -> str | None:
        """Return what is wrong, or None; before and after it listens nothing is."""
        if not self._poller.has_started or self._poller.call(lambda: None) or self._is_closing:
            return None
        return "the front on the public port does not answer"

    def answered(self, relay: Relay) -> None:
        """Take a relay's server for alive."""
        self._unanswered.end(relay)

    def ending(self, relay: Relay) -> None:
        """Give the client a minute, for each of its steps, to take the rest; less at the close."""
        (self._finishing if self._is_finishing else self._ending).begin(relay)

    def ended(self, relay: Relay) -> None:
        """Forget a relay."""
        self._open.discard(relay)
        self._ending.end(relay)
        self._finishing.end(relay)
        if relay in self._unanswered:
            self._unanswered.end(relay)
            self.counts.failed += 1
        origins.end(relay.port)
        if self._is_finishing and not self._open:
            self._is_empty.set()

    def _admit(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        is_full = len(self._open) >= self._bounds.max_connections and not self._unsure.hasten()
        if is_full:
            self.counts.refused += 1
            sock.close()
            if not self._is_full:
                log.warning("refusing connections over %d", self._bounds.max_connections)
        self._is_full = is_full
        if is_full:
            return
        sock.setblocking(False)
        arrival = Arrival(sock, peer_text(address), self._mark, self._most_bytes, self._decide)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            arrival.begin(self._poller)
        except OSError:
            self._fail(sock)
            return
        self._open.add(arrival)
        self._unsure.begin(arrival)

    def _give_up(self, arrival: Arrival) -> None:
        self.counts.silent += 1
        self._open.discard(arrival)
        self._poller.drop(arrival.socket)

    def _abandon(self, relay: Relay) -> None:
        self.counts.failed += 1
        relay.reset()

    def _decide(self, arrival: Arrival, first: bytes, verdict: Verdict) -> None:
        self._open.discard(arrival)
        self._unsure.end(arrival)
        sock = arrival.socket
        if not first:
            self._poller.drop(sock)
            return
        self._poller.remove(sock)
        arrival.wait_for(1)
        if verdict is Verdict.OTHER or not self._hand_over(sock, first):
            self._relay(sock, arrival.peer)

    def _hand_over(self, sock: socket.socket, first: bytes) -> bool:
        sock.setblocking(True)
        try:
            is_taken = self._take(sock, first)
        except Exception:  # the public port outlives whoever takes connections
            log.exception("a stream's connection cannot be taken")
            is_taken = False
        if is_taken:
            self.counts.handed += 1
        else:
            sock.setblocking(False)
        return is_taken

    def _relay(self, client: socket.socket, peer: str) -> None:
        port, sockets = 0, [client]
        try:
            server = socket.socket()
            sockets.append(server)
            server.setblocking(False)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = server.connect_ex(self._upstream)
            port = server.getsockname()[1]
            # Where nobody listens any more a connection may find itself.
            if code not in (0, errno.EINPROGRESS) or port == self._upstream[1]:
                raise OSError(code, "no connection to gRPC")
            origins.add(port, peer)
            relay = Relay(self._poller, client, server, self._buffer, self)
        except OSError:
            origins.end(port)
            self._fail(*sockets)
            return
        self.counts.relayed += 1
        self._open.add(relay)
        self._unanswered.begin(relay)

    def _fail(self, *sockets: socket.socket) -> None:
        self.counts.failed += 1
        for sock in sockets:
            self._poller.drop(sock)

    def _finish_all(self) -> None:
        self._is_finishing = True
        self._end_all(Relay.finish)
        if not self._open:
            self._is_empty.set()

    def _end_all(self, end: Callable[[Relay], None] = Relay.close) -> None:
        for item in list(self._open):
            if isinstance(item, Relay):
                end(item)
            else:
                self._unsure.end(item)
                self._open.discard(item)
                self._poller.drop(item.socket)
