"""What one side of a call sends: frames, in order, as far as the system and the other side let it.

Any thread may send, and none waits but in `wait`: what the system or the other side does not
take at once is kept, and goes on when either takes more.
"""

from collections.abc import Sequence

from headtail.http2 import frames
from headtail.http2.frames import Flag, Kind
from headtail.http2.metadata import DEFAULT_TABLE_BYTES, Headers, encode
from headtail.http2.sink import Sink
from headtail.http2.transport import Buffer, Transport


class Outgoing(Sink):
    """The sending half of a connection that carries one call."""

    def __init__(self, transport: Transport) -> None:
        """Begin; nothing is sent yet."""
        super().__init__(transport)
        self._table_bytes = DEFAULT_TABLE_BYTES

    @property
    def stream(self) -> int:
        """The call's stream; 0 until it has begun."""
        return self._box.stream

    @property
    def data_frames(self) -> int:
        """How many were made so far."""
        return self._box.data_frames

    def begin(self, stream: int) -> None:
        """Send on this stream from now on."""
        with self._lock:
            self._box.stream = stream

    def send_headers(self, headers: Headers) -> None:
        """Send headers that are not the last."""
        block = encode(headers, self._table_bytes)
        self.put(frames.headers(self.stream, block, is_last=False))

    def send(self, message: Buffer, body: Buffer = b"") -> bool:
        """Send a message; no effect once the call is over.

        Args:
            message: Bytes, which are not to change from now on.
            body: What follows in the same message; likewise.

        Returns:
            Whether something waits: who sends either waits as well, or has it sent in background.
        """
        size = len(message) + len(body)
        framed = size + frames.PREFIX_BYTES
        with self._lock:
            if self._is_ended:
                return False
            box = self._box
            if (
                box.bytes
                or self._is_full
                or framed > box.room
                or framed > box.stream_room
                or framed > box.max_frame
            ):
                return self._send_on((b"".join((message, body)) if body else message,))
            box.room -= framed
            box.stream_room -= framed
            box.data_frames += 1
            header = frames.MESSAGE.pack(
                framed >> 8, framed & 0xFF, Kind.DATA, 0, box.stream, 0, size
            )
            parts = (header, message, body) if body else (header, message)
            try:
                sent = self._transport_send(parts)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._break_off()  # the reader finds out why
                return False
            if sent == framed + frames.HEADER_BYTES:
                if not self._transport.unsent_bytes:
                    return False
            else:
                box.frames += map(memoryview, parts)
                box.forget(sent)
            self._is_full = True
            return True

    def send_all(self, messages: Sequence[Buffer]) -> bool:
        """Send several messages, in few calls of the system; see `send`."""
        with self._lock:
            return not self._is_ended and self._send_on(messages)

    def finish(self, headers: Headers | None = None) -> None:
        """Say, after what is kept, that nothing more comes: with headers, or without."""
        with self._lock:
            if self._is_ended:
                return
            self._is_ended = True
            if headers is None:
                self._box.last = frames.frame(Kind.DATA, Flag.END_STREAM, self.stream)
            else:
                block = encode(headers, self._table_bytes)
                self._box.last = frames.headers(self.stream, block, is_last=True)
            self._go_on()

    def more_room(self, stream: int, size: int) -> bool:
        """Take note that the other side takes so many bytes more; return whether it may say so."""
        with self._lock:
            is_right = self._box.more_room(stream, size)
            if is_right:
                self._go_on()
            return is_right

    def obey(
        self, initial_room: int | None, max_frame: int | None, table_bytes: int | None
    ) -> bool:
        """Take note of what the other side has set, and say so: it counts from that frame on.

        Returns:
            Whether it may set that.
        """
        with self._lock:
            if initial_room is not None and not self._box.resize(initial_room):
                return False
            if max_frame is not None:
                self._box.max_frame = max_frame
            if table_bytes is not None:
                self._table_bytes = min(table_bytes, self._table_bytes)
            if not self.is_over:
                self._keep(frames.frame(Kind.SETTINGS, Flag.ACK, 0))
                self._go_on()
            return True

    def _send_on(self, messages: Sequence[Buffer]) -> bool:
        self._box.add(messages)
        if not self._is_full:
            self._flush()
        return self._is_behind
