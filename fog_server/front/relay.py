"""A connection passed on byte for byte, both ways, as slowly as the slower side reads."""

import socket
import struct
from contextlib import suppress
from typing import Protocol

from fog_server.front.poller import ENDED, FAILED, ONCE, READ, WRITE, Poller

CHUNK_BYTES = 256 << 10
"""What is read at once, and so the most that waits here in one direction."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER for no time: closing sends a reset


class Owner(Protocol):
    """Who wants to know how a relay fares."""

    def answered(self, relay: "Relay") -> None:
        """The server has said something for the first time."""

    def ending(self, relay: "Relay") -> None:
        """The server says nothing more; called again whenever the client takes some of the rest."""

    def ended(self, relay: "Relay") -> None:
        """Both sides are done, or cut off."""


class _End:
    """One side: what it is still to be sent, and whether it brings or takes anything more."""

    __slots__ = ("has_brought", "has_ended", "is_gone", "mask", "socket", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.unsent: memoryview | None = None
        self.has_brought = self.has_ended = self.is_gone = False
        self.mask = READ


class Relay:
    """Two sockets of which each is sent what the other brings.

    The end of one direction is passed on and the other lives on. A reset is passed on at once, but
    for one by a server that has said something: its client is to have that first, so it is sent the
    end, and what it still sends is discarded until it hangs up.
    """

    def __init__(
        self,
        poller: Poller,
        client: socket.socket,
        server: socket.socket,
        buffer: memoryview,
        owner: Owner,
    ) -> None:
        """Begin, with sockets that do not block.

        Args:
            poller: On whose thread it works.
            client: Connected.
            server: Connected or about to be; if that fails the client is reset.
            buffer: Scratch memory for all relays of the thread; what is read at once.
            owner: Is told.

        Raises:
            OSError: If the system watches no more sockets.
        """
        self.port: int = server.getsockname()[1]
        """Local port of the connection to the server."""
        self._poller = poller
        self._buffer = buffer
        self._owner = owner
        self._client, self._server = _End(client), _End(server)
        self._is_over = self._is_ending = False
        poller.add(client, READ, self._at_client)
        poller.add(server, READ, self._at_server_first)

    def reset(self) -> None:
        """Cut both sides off."""
        self._end(_RESET)

    def close(self) -> None:
        """End both sides; what was sent to them still reaches them."""
        self._end(None)

    def finish(self) -> None:
        """Take nothing more from the client, and end once it has all and hangs up."""
        if self._is_over:
            return
        if not self._server.has_brought:
            self.close()
            return
        with suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_WR)
        self._lose(self._server)

    def _at_client(self, events: int) -> None:
        self._happened(self._client, self._server, events)

    def _at_server(self, events: int) -> None:
        self._happened(self._server, self._client, events)

    def _at_server_first(self, events: int) -> None:
        if events & READ and not events & FAILED:
            self._answered()
            self._at_server(events)
            return
        self._at_server(events)
        if self._server.has_brought and not self._is_over:
            self._answered()

    def _answered(self) -> None:
        self._poller.handle(self._server.socket, self._at_server)
        self._owner.answered(self)

    def _happened(self, end: _End, other: _End, events: int) -> None:
        if events & WRITE and end.unsent is not None:
            self._flush(end, other)
        if self._is_over:
            return
        if events & READ:
            self._pass_on(end, other)
        elif events & (FAILED | ENDED):
            self._look(end)

    def _pass_on(self, source: _End, sink: _End) -> None:
        try:
            count = source.socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            source.has_ended = True
            self._lose(source)
            if not self._is_over:
                self._pass_end(source, sink)
            return
        if not count:
            source.has_ended = True
            self._pass_end(source, sink)
            return
        source.has_brought = True
        if sink.is_gone:
            return
        data = self._buffer[:count]
        try:
            sent = _send(sink.socket, data)
        except OSError:
            self._lose(sink)
            return
        if sent < count:
            sink.unsent = memoryview(bytes(data[sent:]))
            self._watch(source, sink)

    def _flush(self, sink: _End, source: _End) -> None:
        assert sink.unsent is not None, "called where something is unsent"
        try:
            sent = _send(sink.socket, sink.unsent)
        except OSError:
            self._lose(sink)
            return
        if sent < len(sink.unsent):
            sink.unsent = sink.unsent[sent:]
        else:
            sink.unsent = None
            self._watch(source, sink)
            if source.has_ended:
                self._pass_end(source, sink)
        if self._is_ending and not self._is_over:
            self._owner.ending(self)

    def _pass_end(self, source: _End, sink: _End) -> None:
        """Tell `sink` that `source` is done, once it has been sent everything."""
        if sink.unsent is None:
            if sink.has_ended and source.unsent is None:
                self.close()
                return
            if not sink.is_gone:
                try:
                    sink.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    self._lose(sink)
                    if self._is_over:
                        return
        self._watch(source, sink)
        if source is self._server:
            self._server_ends()

    def _look(self, end: _End) -> None:
        """See what happened to a side that is not read from now."""
        if end.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lose(end)
        elif end is self._server:
            self._server_ends()

    def _lose(self, end: _End) -> None:
        """Go on without a side that takes nothing more, if the other has yet to take something."""
        if end is self._client or not end.has_brought:
            self.reset()
            return
        client = self._client
        end.is_gone, end.unsent = True, None
        if client.has_ended and end.has_ended and client.unsent is None:
            self.close()
            return
        self._watch(client, end)
        self._server_ends()

    def _server_ends(self) -> None:
        self._is_ending = True
        self._owner.ending(self)

    def _watch(self, one: _End, two: _End) -> None:
        for end, other in ((one, two), (two, one)):
            mask = READ if other.unsent is None and not end.has_ended else 0
            if end.unsent is not None:
                mask |= WRITE
            # An end that stays would be reported without end.
            mask = mask or ENDED | ONCE
            if mask != end.mask:
                end.mask = mask
                self._poller.change(end.socket, mask)

    def _end(self, linger: bytes | None) -> None:
        if self._is_over:
            return
        self._is_over = True
        for end in (self._client, self._server):
            end.unsent = None
            if linger is not None:
                end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._poller.drop(end.socket)
        self._owner.ended(self)


def _send(sock: socket.socket, data: memoryview) -> int:
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0
