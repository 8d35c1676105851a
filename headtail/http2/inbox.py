"""Bytes from the other side, and whether it is still there."""

import socket
import time
from collections.abc import Callable

import grpc
import numpy as np

from headtail.http2.metadata import Broken
from headtail.http2.transport import Transport, describe, set_patience

_BUFFER_BYTES = 1 << 16

_ALIGNED_BYTES = 16


class Inbox:
    """A buffer that one thread fills from a socket, and reads from.

    A side that is silent for long is pinged; one that is silent after that is gone.
    """

    def __init__(
        self,
        transport: Transport,
        ping: Callable[[], None],
        keepalive_s: float,
        ping_timeout_s: float,
    ) -> None:
        """Begin.

        Args:
            transport: Brings the bytes.
            ping: Asks the other side for a sign of life.
            keepalive_s: Silence after which it is asked.
            ping_timeout_s: How long it may be silent then.
        """
        self.buffer = bytearray(_BUFFER_BYTES)
        self.start = self.stop = 0
        """Of what is in the buffer and was not read yet."""
        self.view = memoryview(self.buffer)
        self._transport = transport
        self._ping = ping
        self._keepalive_s, self._ping_timeout_s = keepalive_s, ping_timeout_s
        self._is_pinged = False
        self._until: tuple[float, Broken] | None = None
        set_patience(transport.socket, keepalive_s)

    def hurry(self, until: tuple[float, Broken] | None) -> None:
        """Wait for bytes until a monotonic time at most, and then raise an error; None: no more."""
        self._until = until
        set_patience(self._transport.socket, self._patience_s)

    def take(self, size: int) -> bytes:
        """Return the next bytes, at most 64 KiB.

        Raises:
            Broken: If the other side hangs up, or is gone.
        """
        start = self.start
        stop = start + size
        if stop > self.stop:
            self.fill(size)
            start = self.start
            stop = start + size
        self.start = stop
        return bytes(self.view[start:stop])

    def take_large(self, size: int) -> memoryview:
        """Return the next bytes, however many; raises as `take` does."""
        result = room_for(size)
        self.read_into(result)
        return result

    def refill(self, most: int) -> int:
        """Wait for bytes where there are none; return how many come. Raises as `take` does.

        Args:
            most: So many are read at most; 0 means as many as there is room for.
        """
        self.start = self.stop = 0
        self.stop = self._receive(self.view[:most] if most else self.view)
        return self.stop

    def fill(self, wanted: int) -> None:
        """Have so many bytes in the buffer, at most 64 KiB; raises as `take` does."""
        self._make_room(wanted)
        while self.stop - self.start < wanted:
            self.stop += self._receive(self.view[self.stop :])

    def fill_now(self) -> None:
        """Take what has come already; whoever reads on finds out what is wrong, if anything is."""
        self._make_room(_BUFFER_BYTES)
        if self.stop == _BUFFER_BYTES:
            return
        try:
            self.stop += self._transport.receive_into(
                self.view[self.stop :], 0, socket.MSG_DONTWAIT
            )
        except OSError:
            return

    def read_into(self, view: memoryview) -> None:
        """Fill `view` with the next bytes, past the buffer; raises as `take` does."""
        size = len(view)
        done = min(size, self.stop - self.start)
        view[:done] = self.view[self.start : self.start + done]
        self.start += done
        while done < size:
            done += self._receive(view[done:], socket.MSG_WAITALL)

    @property
    def _patience_s(self) -> float:
        return self._ping_timeout_s if self._is_pinged else self._keepalive_s

    def _make_room(self, wanted: int) -> None:
        """Have room for so many bytes behind `start`."""
        kept = self.stop - self.start
        if not kept:
            self.start = self.stop = 0
        elif self.start + wanted > _BUFFER_BYTES:
            self.view[:kept] = self.view[self.start : self.stop]
            self.start, self.stop = 0, kept

    def _receive(self, view: memoryview, flags: int = 0) -> int:
        while True:
            if self._until is not None:
                self._keep_to(*self._until)
            try:
                count = self._transport.receive_into(view, 0, flags)
            except BlockingIOError:
                if self._until is None or time.monotonic() < self._until[0]:
                    self._ask()
                continue
            except OSError as error:
                raise Broken(grpc.StatusCode.UNAVAILABLE, describe(error)) from error
            if not count:
                raise Broken(grpc.StatusCode.UNAVAILABLE, "connection closed")
            if self._is_pinged:
                self._is_pinged = False
                set_patience(self._transport.socket, self._keepalive_s)
            return count

    def _keep_to(self, give_up_s: float, error: Broken) -> None:
        left_s = give_up_s - time.monotonic()
        if left_s <= 0:
            raise error
        set_patience(self._transport.socket, min(left_s, self._patience_s))

    def _ask(self) -> None:
        if self._is_pinged:
            silent_s = self._keepalive_s + self._ping_timeout_s
            text = f"no answer to a ping, silent for {silent_s:g} s"
            raise Broken(grpc.StatusCode.UNAVAILABLE, text)
        self._is_pinged = True
        self._ping()
        set_patience(self._transport.socket, self._ping_timeout_s)


def room_for(size: int) -> memoryview:
    """Return memory for a message.

    What it ends with, a tensor mostly, lies on addresses of its values' size: where that is not so
    NumPy and onnxruntime are slower than a copy would be.
    """
    before = -size % _ALIGNED_BYTES
    return np.empty(before + size, np.uint8).data[before:]
