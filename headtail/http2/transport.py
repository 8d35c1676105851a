"""A socket, plain or with TLS, that one thread reads from while others write."""

import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, cast

PROTOCOLS = ("headtail-stream", "h2")
"""What a client with TLS offers to speak (ALPN). The first is HTTP/2 like the second, and says that
the connection carries one call; servers that do not know it take the second."""
_TIME_BYTES = 16  # at most
_TLS_BYTES = 1 << 16
_WITHOUT_WAITING = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
Buffer = bytes | bytearray | memoryview


class Transport(Protocol):
    """Bytes to and from the other side."""

    socket: socket.socket
    unsent_bytes: int
    """Of what was handed over, what the system has not taken yet."""

    def receive_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0, /) -> int:
        """Wait for bytes and return how many came; 0 once there will be none.

        Args:
            buffer: Where they go, as far as there is room.
            nbytes: As `socket.recv_into`: always 0, as much as there is room for.
            flags: Likewise; MSG_WAITALL may be passed over.

        Raises:
            BlockingIOError: If none came for as long as `patience` says.
            OSError: If the connection is broken.
        """
        ...

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Hand over what the system takes now and return how many bytes that are; never waits.

        Raises:
            BlockingIOError: If it takes none.
            OSError: If the connection is broken.
        """
        ...

    def flush(self) -> None:
        """Have the system take more of what was handed over, if it can now; never waits."""
        ...


class Plain:
    """A socket as it is."""

    unsent_bytes = 0

    def __init__(self, connected: socket.socket) -> None:
        """Use a connected, blocking socket; its owner closes it."""
        self.socket = connected
        # Without a method in between: every message passes here.
        self.receive_into = connected.recv_into
        self._sendmsg = connected.sendmsg

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Hand over what the system takes now; never waits."""
        return self._sendmsg(buffers, (), _WITHOUT_WAITING)

    def flush(self) -> None:
        """Do nothing: all that was handed over is the system's."""


class Tls:
    """A socket with TLS, which OpenSSL sees from one thread at a time."""

    def __init__(
        self,
        connected: socket.socket,
        context: ssl.SSLContext,
        server_name: str | None,
        seconds: float,
    ) -> None:
        """Shake hands.

        Args:
            connected: Blocks; its owner closes it.
            context: Of a client or a server.
            server_name: Whom a client expects; None makes it a server.
            seconds: How long that may take.

        Raises:
            OSError: If that fails: `ssl.SSLError` among others, and TimeoutError.
        """
        self.socket = connected
        self.unsent_bytes = 0
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = server_name is None
        self._tls = context.wrap_bio(self._in, self._out, is_server, server_name)
        # With a buffer it returns how many bytes came; typeshed knows it without one only.
        self._read = cast(Callable[[int, memoryview], int], self._tls.read)
        self._lock = threading.Lock()
        self._unsent = memoryview(b"")
        self._received = bytearray(_TLS_BYTES)
        self._shake_hands(time.monotonic() + seconds)

    @property
    def tls(self) -> ssl.SSLObject:
        """What was agreed on, and with whom."""
        return self._tls

    def receive_into(self, buffer: memoryview, _nbytes: int = 0, flags: int = 0, /) -> int:
        """Wait for bytes; see `Transport`."""
        while True:
            with self._lock:
                try:
                    return self._read(len(buffer), buffer)
                except ssl.SSLWantReadError:
                    # What breaks here breaks for who sends: there may still be something to read.
                    with suppress(OSError):
                        self._flush()
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return 0
            self._receive(flags & socket.MSG_DONTWAIT)

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Encrypt everything, if what was encrypted before is gone; never waits."""
        with self._lock:
            self._flush()
            if self._unsent:
                raise BlockingIOError
            data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
            rest = memoryview(data)
            while rest:
                rest = rest[self._tls.write(rest) :]
            self._flush()
            return len(data)

    def flush(self) -> None:
        """Send what is encrypted already, as far as the system takes it."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        """Send what is encrypted, as far as the system takes it; with the lock held."""
        while True:
            if not self._unsent:
                self._unsent = memoryview(self._out.read())
            self.unsent_bytes = len(self._unsent)
            if not self._unsent:
                return
            try:
                sent = self.socket.send(self._unsent, _WITHOUT_WAITING)
            except BlockingIOError:
                return
            self._unsent = self._unsent[sent:]

    def _receive(self, flags: int = 0) -> None:
        count = self.socket.recv_into(self._received, 0, flags)
        with self._lock:
            if count:
                self._in.write(memoryview(self._received)[:count])
            else:
                self._in.write_eof()

    def _shake_hands(self, give_up_s: float) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError:
                with suppress(OSError):
                    self._flush()  # the other side is told why
                raise
            else:
                self._flush()
                return
            left_s = give_up_s - time.monotonic()
            try:
                if left_s <= 0:
                    raise BlockingIOError
                set_patience(self.socket, left_s)
                self._receive()
            except BlockingIOError:
                raise TimeoutError("no TLS handshake in time") from None


def set_patience(connected: socket.socket, seconds: float) -> None:
    """Let a blocking socket wait so long for bytes, at least a microsecond."""
    # Two integers, of which a 32-bit system says itself whether they have 4 or 8 bytes each.
    option = socket.SOL_SOCKET, socket.SO_RCVTIMEO
    size = len(connected.getsockopt(*option, _TIME_BYTES)) // 2
    parts = divmod(max(1, round(seconds * 1e6)), 1_000_000)
    connected.setsockopt(*option, b"".join(part.to_bytes(size, sys.byteorder) for part in parts))


def wait_writable(connected: socket.socket, seconds: float) -> None:
    """Wait until the system takes bytes again, the connection breaks, or time is up."""
    poll = select.poll()
    try:
        poll.register(connected, select.POLLOUT)
        poll.poll(seconds * 1e3)
    except (OSError, ValueError):  # it was closed meanwhile
        return


def hang_up(connected: socket.socket) -> None:
    """Wake whoever waits on a socket, which stays theirs to close."""
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def describe(error: OSError) -> str:
    """Return why a connection broke, in a few words."""
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error).lower().replace("_", " ")
    return error.strerror or str(error) or "connection closed"
