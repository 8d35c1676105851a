"""What one side of a call receives: the messages in its frames.

One thread reads. What the other side sends ahead stays in the system's socket, which tells it to
wait by TCP; HTTP/2's own windows are as wide as they go and are renewed long before they are used.
"""

import grpc

from headtail.http2 import frames
from headtail.http2.assembly import COPIED_BYTES, TRUSTED_BYTES, Assembly
from headtail.http2.control import Control, Malformed, OnHeaders
from headtail.http2.frames import ErrorCode, Flag, Kind
from headtail.http2.inbox import Inbox
from headtail.http2.metadata import Broken
from headtail.http2.outgoing import Outgoing
from headtail.http2.transport import Buffer, Transport

_RENEW_BYTES = 1 << 29
_HEAD_BYTES = frames.MESSAGE_BYTES
_UNPACK = frames.MESSAGE.unpack_from


class Incoming:
    """The receiving half of a connection that carries one call."""

    def __init__(
        self,
        transport: Transport,
        outgoing: Outgoing,
        on_headers: OnHeaders,
        max_message_bytes: int,
        keepalive_s: float,
        ping_timeout_s: float,
    ) -> None:
        """Begin.

        Args:
            transport: Brings the bytes.
            outgoing: The other half.
            on_headers: Told of headers as they come.
            max_message_bytes: Largest message taken.
            keepalive_s: Silence after which the other side is pinged.
            ping_timeout_s: How long it may be silent then.
        """
        self._outgoing = outgoing
        self._most_bytes = min(max_message_bytes, TRUSTED_BYTES)
        self._inbox = Inbox(transport, self._ping, keepalive_s, ping_timeout_s)
        self._assembly = Assembly(self._inbox, max_message_bytes)
        self._control = Control(self._inbox, outgoing, on_headers)
        self._left = self._padding = 0  # of the DATA frame that is being read
        self.is_ended = False
        """Whether the other side has ended its half of the call."""
        self._is_last = False
        self._taken = 0  # bytes since the windows were last renewed
        self._stream = 0
        self._was_large = False  # the last message: the next is read past the buffer then
        self._is_plain = False  # next comes a frame, and a message that begins in it is the next

    def expect(self, expected: bytes) -> None:
        """Read bytes that must come next.

        Raises:
            Broken: If others do, or none.
        """
        try:
            if self._inbox.take(len(expected)) != expected:
                raise Malformed(ErrorCode.PROTOCOL_ERROR, "no preface of HTTP/2")
        except (Broken, Malformed) as error:
            raise self._broken(error) from error

    def hurry(self, until: tuple[float, Broken] | None) -> None:
        """Wait until a monotonic time at most, and raise an error then; None: for ever."""
        self._inbox.hurry(until)

    def read(self) -> Buffer | None:
        """Wait for a message and return it; None once the other side has said that none comes.

        Raises:
            Broken: If the call is over before that.
        """
        try:
            if self._is_plain and (message := self._read_whole()) is not None:
                return message
        except (Broken, Malformed) as error:
            self._is_plain = False
            raise self._broken(error) from error
        while not self.is_ended or self._left:
            if (message := self.step()) is not None:
                return message
        return None

    def step(self) -> Buffer | None:
        """Read a frame, or on in what was begun; return a message if it is whole with that.

        Raises:
            Broken: If the call is over with it.
        """
        self._is_plain = False
        try:
            message = self._step()
            self._look()
        except (Broken, Malformed) as error:
            self._is_plain = False
            raise self._broken(error) from error
        else:
            return message

    def refuse(self, text: str) -> Broken:
        """Break the call off because the other side overdoes it; return the error to be raised."""
        return self._broken(Malformed(ErrorCode.ENHANCE_YOUR_CALM, text))

    def ready(self) -> bool:
        """Return whether `read` would return a message without waiting, one of at most 64 KiB."""
        if not self._is_plain:
            return False
        if not self._has_whole():
            self._inbox.fill_now()
        return self._has_whole()

    def _read_whole(self) -> Buffer | None:
        """Return the message of the next frame, which is read; None if it is of another kind."""
        inbox = self._inbox
        start, stop = inbox.start, inbox.stop
        if start == stop:
            start, stop = 0, inbox.refill(_HEAD_BYTES if self._was_large else 0)
        begin = start + frames.MESSAGE_BYTES
        if begin > stop:
            return None
        high, low, kind, flags, stream, is_compressed, size = _UNPACK(inbox.buffer, start)
        framed = size + frames.PREFIX_BYTES
        if (
            kind
            or flags
            or is_compressed
            or high << 8 | low != framed
            or stream != self._stream
            or size > self._most_bytes
        ):
            return None
        self._control.data_frames += 1
        self._taken += framed
        if self._taken >= _RENEW_BYTES:
            self._renew()
        if size <= COPIED_BYTES:
            self._was_large = False
            end = begin + size
            if end <= stop:
                inbox.start = end
                return bytes(inbox.view[begin:end])
            inbox.start = begin
            return inbox.take(size)
        self._was_large = True
        inbox.start = begin
        return inbox.take_large(size)

    def _has_whole(self) -> bool:
        inbox = self._inbox
        have = inbox.stop - inbox.start
        if have < frames.MESSAGE_BYTES:
            return False
        size: int
        high, low, kind, flags, _, _, size = _UNPACK(inbox.buffer, inbox.start)
        framed: int = high << 8 | low
        if kind != Kind.DATA or flags & Flag.PADDED or framed + frames.HEADER_BYTES > have:
            return False
        return size + frames.PREFIX_BYTES <= framed  # and does not end in a later frame

    def _look(self) -> None:
        """Look whether what comes next is a frame that `read` is to return."""
        self._stream = self._outgoing.stream
        self._is_plain = not (self._left or self.is_ended or self._assembly.is_within)

    def _step(self) -> Buffer | None:
        """Read a frame's header, or on in a frame; return a message once it is whole."""
        if not self._left:
            self._read_frame()
            return None
        used, message = self._assembly.read(self._left)
        self._passed(used)
        return message

    def _renew(self) -> None:
        for number in (0, self._outgoing.stream):
            self._outgoing.put(frames.window_update(number, self._taken))
        self._taken = 0

    def _read_frame(self) -> None:
        inbox = self._inbox
        if inbox.stop - inbox.start < frames.HEADER_BYTES:
            inbox.fill(frames.HEADER_BYTES)
        high, low, kind, flags, stream = frames.HEADER.unpack_from(inbox.buffer, inbox.start)
        inbox.start += frames.HEADER_BYTES
        stream &= frames.MAX_WINDOW
        size = high << 8 | low
        if kind != Kind.DATA or not size:
            if self._control.handle(kind, flags, stream, size):
                self._end()
            return
        if not stream:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, "data of stream 0")
        if stream != self._outgoing.stream or self.is_ended:
            raise Malformed(ErrorCode.STREAM_CLOSED, f"data on stream {stream}")
        self._control.data_frames += 1
        self._taken += size
        if self._taken >= _RENEW_BYTES:
            self._renew()
        self._is_last = bool(flags & Flag.END_STREAM)
        if flags & Flag.PADDED:
            self._padding = inbox.take(1)[0]
            size -= 1 + self._padding
            if size < 0:
                raise Malformed(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
        self._left = size
        if not size:
            self._passed(0)

    def _passed(self, size: int) -> None:
        """Take note that so much of the frame was read."""
        self._left -= size
        if self._left:
            return
        if self._padding:
            self._inbox.take(self._padding)
            self._padding = 0
        if self._is_last:
            self._end()

    def _end(self) -> None:
        self.is_ended = True
        if self._assembly.is_within:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, "the stream ended within a message")

    def _ping(self) -> None:
        self._outgoing.put(frames.frame(Kind.PING, 0, 0, bytes(8)))

    def _broken(self, error: Broken | Malformed) -> Broken:
        """Return why the call is over, having told the other side what it did wrong."""
        if isinstance(error, Malformed):
            self._outgoing.put(frames.goaway(self._outgoing.stream, error.code, str(error)))
            self._outgoing.say_no_more()
            error = Broken(grpc.StatusCode.INTERNAL, f"HTTP/2: {error}")
        elif error.end.code is grpc.StatusCode.UNAVAILABLE and self._control.goaway is not None:
            code, text = self._control.goaway
            error = Broken(error.end.code, f"hung up with HTTP/2 error {code} {text}".rstrip())
        if error.is_lost:
            self._outgoing.say_no_more()
        return error
