"""The server's side of one connection: a thread reads its call and runs the method on it."""

import fcntl
import logging
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import grpc

from headtail.http2 import frames
from headtail.http2.answers import Answers, Send
from headtail.http2.context import Aborted, CallContext
from headtail.http2.control import Malformed
from headtail.http2.frames import ErrorCode
from headtail.http2.incoming import Incoming
from headtail.http2.metadata import CONTENT_TYPE, Broken, Headers
from headtail.http2.outgoing import Outgoing
from headtail.http2.received import Cancelled, Received
from headtail.http2.transport import Buffer, Plain, Tls, Transport, hang_up, set_patience

log = logging.getLogger(__name__)
Behavior = Callable[[Iterator[Buffer], grpc.ServicerContext, Send], None]
"""Takes messages, and answers by calling a function from any thread; None ends the call.

The iterator has a method `ready`, whether another message is there already; the function has one
`many`, which sends several messages at once.
"""
_SILENT_S = 1.0
"""After the end, how long a client may say nothing before it is told that no more comes, and, if it
has everything, as long again before it is hung up on."""
_INT = struct.Struct("@i")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may do."""

    connections: int
    """Open at once."""
    message_bytes: int
    """Largest message received."""
    handshake_s: float
    """From a connection to its call."""
    keepalive_s: float
    """How long a client may be silent before it is pinged."""
    ping_timeout_s: float = 20.0
    """How long it may be silent then; both together, how long it may take nothing."""
    linger_s: float = 10.0
    """How long it may keep a connection after its call has ended."""


class Served:
    """One connection."""

    def __init__(
        self,
        accepted: socket.socket,
        methods: Mapping[str, Behavior],
        limits: Limits,
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        """Prepare to serve a call of one of `methods`; see `StreamService`."""
        self._socket = accepted
        self._methods = methods
        self._limits = limits
        self._tls = tls
        self._headers: Headers = ()
        self._lock = threading.Lock()

    def hang_up(self) -> None:
        """Wake the thread, which then ends; from any thread."""
        with self._lock:
            hang_up(self._socket)

    def close(self) -> None:
        """Free the socket; nobody uses it any more."""
        with self._lock:
            self._socket.close()

    def run(self) -> None:
        """Serve the call."""
        give_up_s = time.monotonic() + self._limits.handshake_s
        try:
            transport = self._transport()
        except OSError as error:
            log.info("no TLS with a client: %s", error)
            return
        outgoing = Outgoing(transport)
        is_ended = True
        try:
            is_ended = self._serve(transport, outgoing, give_up_s)
        except Broken:
            pass  # there was no call
        finally:
            outgoing.say_no_more()
        self._linger(is_ended)

    def _serve(self, transport: Transport, outgoing: Outgoing, give_up_s: float) -> bool:
        """Read the call and run it; return whether the client had sent all that it will."""
        outgoing.put(frames.our_settings(is_client=False))
        limits = self._limits
        incoming = Incoming(
            transport,
            outgoing,
            lambda stream, headers, _: self._begin(outgoing, stream, headers),
            limits.message_bytes,
            limits.keepalive_s,
            limits.ping_timeout_s,
        )
        incoming.hurry((give_up_s, Broken(grpc.StatusCode.DEADLINE_EXCEEDED, "no call in time")))
        incoming.expect(frames.PREFACE)
        while not outgoing.stream:
            incoming.step()
        received = Received(incoming, limits.message_bytes)
        answers = Answers(outgoing, received, limits.keepalive_s + limits.ping_timeout_s)
        context = CallContext(self._headers, transport, outgoing, answers)
        try:
            error = Broken(grpc.StatusCode.DEADLINE_EXCEEDED, "deadline exceeded", is_lost=False)
            incoming.hurry(None if context.give_up_s is None else (context.give_up_s, error))
            self._run(received, answers, context)
            incoming.hurry(None)
            received.discard()
            answers.end(context.end)
            answers.wait()
            outgoing.put(frames.goaway(outgoing.stream, ErrorCode.NO_ERROR))
        finally:
            context.over()
        return incoming.is_ended or received.end is not None

    def _transport(self) -> Transport:
        self._socket.settimeout(None)
        if self._tls is None:
            return Plain(self._socket)
        return Tls(self._socket, self._tls(), None, self._limits.handshake_s)

    def _begin(self, outgoing: Outgoing, stream: int, headers: Headers) -> None:
        """Take the first stream; a connection carries no other."""
        if outgoing.stream:
            if stream > outgoing.stream:
                outgoing.put(frames.reset(stream, ErrorCode.REFUSED_STREAM))
            return
        if not stream % 2:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, f"a call on stream {stream}")
        self._headers = headers
        outgoing.begin(stream)

    def _run(self, received: Received, answers: Answers, context: CallContext) -> None:
        """Run the method to its end, whatever that is."""
        found = dict(self._headers)
        path = found.get(":path", "")
        is_grpc = found.get("content-type", "").startswith(CONTENT_TYPE)
        behavior = self._methods.get(path) if is_grpc else None
        if behavior is None:
            context.set_code(grpc.StatusCode.UNIMPLEMENTED)
            context.set_details(f"no method {path[:200]} on a connection of one call")
            return
        send = answers.sender(lambda: answers.end(context.end))
        try:
            behavior(received, context, send)
        except Aborted:
            return
        except Cancelled:
            pass
        except Exception:
            log.exception("a method failed")
            context.set_code(grpc.StatusCode.UNKNOWN)
            context.set_details("the method failed")
        if received.end is not None:
            context.end_with(received.end)

    def _linger(self, is_ended: bool) -> None:
        """Let the client have what was sent last, and hang up first.

        Closed with data unread, the system drops what was sent. And a client that has not ended its
        half is to do so: in 6 of 1,600 such calls gRPC's own took the closed socket for the status.
        """
        give_up_s = time.monotonic() + self._limits.linger_s
        unread = bytearray(1 << 14)
        is_shut = is_ended
        try:
            if is_shut:
                self._socket.shutdown(socket.SHUT_WR)
            while (left_s := give_up_s - time.monotonic()) > 0:
                set_patience(self._socket, min(left_s, _SILENT_S))
                try:
                    if not self._socket.recv_into(unread):
                        return
                except BlockingIOError:
                    if not is_shut:
                        self._socket.shutdown(socket.SHUT_WR)
                        is_shut = True
                    elif not _under_way_bytes(self._socket):
                        return
        except OSError:
            return


def _under_way_bytes(connected: socket.socket) -> int:
    """Return how much the other side's system has not taken yet."""
    count: int
    (count,) = _INT.unpack(fcntl.ioctl(connected, termios.TIOCOUTQ, bytes(_INT.size)))
    return count
