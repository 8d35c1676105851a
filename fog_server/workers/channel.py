"""What parent and worker say to each other: messages over a pair of sockets only they hold.

The kernel closes the worker's end whatever ends it, and the parent's likewise, so that each learns
of the other's end at once.
"""

import socket
import struct
import threading
import time

import msgspec

from fog_server.config import Config

_LENGTH = struct.Struct("<I")
MAX_BYTES = 64 << 20
"""Largest message; a page of metrics takes some tens of kilobytes."""
_READ_BYTES = 1 << 16


class Begin(msgspec.Struct, frozen=True, tag=True):
    """From the parent, once: what to serve."""

    config: Config
    number: int
    """Of the worker, from 0."""
    watchdog_s: float


class Ask(msgspec.Struct, frozen=True, tag=True):
    """From the parent: how do things stand, answered by `State`."""

    number: int
    """Of the question, from 1."""
    with_check: bool
    """Whether the worker is to look for what is wrong with it, which takes a call to itself."""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """From the parent, once: answer what is in flight and end."""


class Serving(msgspec.Struct, frozen=True, tag=True):
    """From the worker, once: it serves."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From the worker, once, instead: why it cannot."""

    reason: str


class State(msgspec.Struct, frozen=True, tag=True):
    """From the worker: how things stand; the last one comes when all is over."""

    number: int
    """Of the question; 0 for the last one, which nobody asked for."""
    page: str
    """Its metrics, in Prometheus' text format."""
    wrong: str | None = None
    """Why it does not call itself live; None also where nobody asked."""


FromParent = Begin | Ask | Drain
FromWorker = Serving | Failed | State


class ChannelClosed(Exception):
    """The other process has ended, or says nothing that can be read."""


class Channel:
    """One end; several threads may send, and one at a time may receive."""

    def __init__(self, end: socket.socket) -> None:
        """Use one end of a pair."""
        self._socket = end
        self._reader = msgspec.msgpack.Decoder(FromParent | FromWorker)
        self._received = bytearray()
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """Return the socket's number."""
        return self._socket.fileno()

    def send(self, message: FromParent | FromWorker, timeout_s: float | None = None) -> None:
        """Send one message whole.

        Raises:
            ChannelClosed: If that cannot be done, or not in time.
        """
        data = msgspec.msgpack.encode(message)
        try:
            with self._sending:
                self._socket.settimeout(timeout_s)
                self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, timeout_s: float | None = None) -> FromParent | FromWorker:
        """Return the next message.

        Raises:
            ChannelClosed: If none comes any more.
            TimeoutError: If none has come in time; the next call goes on waiting for it.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._fill(_LENGTH.size, until_s)
        (length,) = _LENGTH.unpack_from(self._received)
        if length > MAX_BYTES:
            raise ChannelClosed
        end = _LENGTH.size + length
        self._fill(end, until_s)
        data = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        try:
            message: FromParent | FromWorker = self._reader.decode(data)
        except msgspec.DecodeError as error:
            raise ChannelClosed from error
        return message

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _fill(self, count: int, until_s: float | None) -> None:
        """Receive until so many bytes are there."""
        while len(self._received) < count:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TimeoutError
            try:
                self._socket.settimeout(left_s)
                part = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                raise
            except OSError as error:
                raise ChannelClosed from error
            if not part:
                raise ChannelClosed
            self._received += part
