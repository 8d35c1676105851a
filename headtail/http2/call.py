"""The client's side: a call with a connection of its own."""

import socket
import ssl
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

import grpc

from headtail.http2 import frames
from headtail.http2.frames import ErrorCode
from headtail.http2.incoming import Incoming
from headtail.http2.metadata import Broken, End, Headers, http_end, read_end, request_headers
from headtail.http2.outgoing import Outgoing
from headtail.http2.transport import (
    PROTOCOLS,
    Buffer,
    Plain,
    Tls,
    Transport,
    hang_up,
)

__all__ = ["PROTOCOLS", "Patience", "StreamCall"]
_STREAM = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits, in seconds."""

    connect_s: float
    """Until the connection is made, its TLS handshake included."""
    keepalive_s: float
    """Of silence, before the server is pinged."""
    ping_timeout_s: float
    """Of silence after that, before it is given up."""


class StreamCall:
    """An open bidirectional call: any thread sends and closes, one thread reads."""

    def __init__(
        self,
        address: tuple[str, int],
        path: str,
        tls: ssl.SSLContext | None,
        patience: Patience,
        max_message_bytes: int,
    ) -> None:
        """Connect and begin the call; the server's answer to that is not waited for.

        Args:
            address: Host and port.
            path: /SERVICE/METHOD.
            tls: For a client, with `PROTOCOLS` as ALPN; None is plaintext.
            patience: How long to wait.
            max_message_bytes: Largest message received.

        Raises:
            OSError: If no connection can be made.
        """
        host, port = address
        give_up_s = time.monotonic() + patience.connect_s
        self._socket = socket.create_connection(address, patience.connect_s)
        try:
            transport = self._transport(tls, host, give_up_s)
            self._outgoing = Outgoing(transport)
            self._incoming = Incoming(
                transport,
                self._outgoing,
                self._heard,
                max_message_bytes,
                patience.keepalive_s,
                patience.ping_timeout_s,
            )
        except BaseException:
            self._socket.close()
            raise
        self._lock = threading.Lock()
        self._is_read = self._is_closed = False
        self._end = End(grpc.StatusCode.CANCELLED, "closed")
        self._said: End | None = None
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        headers = request_headers("http" if tls is None else "https", authority, path, "headtail")
        self._outgoing.begin(_STREAM)
        self._outgoing.put(frames.PREFACE + frames.our_settings(is_client=True))
        self._outgoing.send_headers(headers)

    def send(self, message: Buffer, body: Buffer = b"") -> None:
        """Hand over a message and what follows in it; neither is to change from now on.

        Never waits for the other side. No effect once the call is over.
        """
        outgoing = self._outgoing
        if outgoing.send(message, body):
            outgoing.flush_in_background()

    def messages(self) -> Generator[Buffer, None, End]:
        """Yield what comes until the call ends; return how it ended."""
        with self._lock:
            is_read, self._is_read = self._is_read, True
        if is_read:
            return self._end
        try:
            while (message := self._incoming.read()) is not None:
                yield message
            self._end = self._said or End(grpc.StatusCode.UNKNOWN, "no status")
        except Broken as broken:
            if not self._is_closed:
                self._end = broken.end
        finally:
            self._close_socket()
        return self._end

    def finish(self) -> None:
        """Say that nothing more is sent."""
        self._outgoing.finish()

    def close(self) -> None:
        """End the call and its connection, at the latest when `messages` has ended."""
        with self._lock:
            is_read, self._is_read = self._is_read, True
            was_closed, self._is_closed = self._is_closed, True
        if was_closed:
            return
        if is_read:
            self._cancel()
            with self._lock:
                hang_up(self._socket)  # who reads it closes it
        else:
            self._close_socket()

    def _transport(self, tls: ssl.SSLContext | None, host: str, give_up_s: float) -> Transport:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(None)
        if tls is None:
            return Plain(self._socket)
        return Tls(self._socket, tls, host, give_up_s - time.monotonic())

    def _heard(self, stream: int, headers: Headers, is_last: bool) -> None:
        if stream != _STREAM:
            return
        if is_last:
            self._said = read_end(headers)
        elif (end := http_end(dict(headers))) is not None:
            raise Broken(end.code, end.details)

    def _cancel(self) -> None:
        self._outgoing.put(frames.reset(_STREAM, ErrorCode.CANCEL))
        self._outgoing.break_off()

    def _close_socket(self) -> None:
        self._cancel()
        with self._lock:  # nobody else may be about to use what the system gives to others next
            hang_up(self._socket)
            self._socket.close()
