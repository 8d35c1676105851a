"""What waits to be sent: messages that HTTP/2's windows have no room for, and finished frames."""

from collections import deque
from collections.abc import Sequence

from headtail.http2 import frames
from headtail.http2.frames import Kind
from headtail.http2.transport import Buffer

_FRAMED_BYTES = 1 << 20  # made into frames at once, at most


class Outbox:
    """Two queues, of which the frames go first. Whoever uses it holds the lock of its owner."""

    def __init__(self) -> None:
        """Begin with the windows that every connection begins with."""
        self.stream = 0
        """The call's stream; 0 until it has begun."""
        self.frames: deque[memoryview] = deque()
        """What the system takes next."""
        self.bytes: deque[memoryview] = deque()
        """Of messages, not framed yet."""
        self.last: bytes | None = None
        """The frames that end the stream, until they are among `frames`."""
        self.room = self.stream_room = frames.DEFAULT_WINDOW
        """What the other side takes, of the connection and of the stream; may be negative."""
        self.max_frame = frames.DEFAULT_MAX_FRAME
        self.data_frames = 0
        """Made so far."""
        self.sent_bytes = 0
        """Of what was in here."""
        self._initial_room = frames.DEFAULT_WINDOW

    def add(self, messages: Sequence[Buffer]) -> None:
        """Take messages: in a frame each where there is room."""
        for message in messages:
            size = len(message)
            framed = size + frames.PREFIX_BYTES
            prefix = memoryview(frames.PREFIX.pack(0, size))
            if self.bytes or framed > min(self.room, self.stream_room, self.max_frame):
                self.bytes.append(prefix)
                if size:
                    self.bytes.append(memoryview(message))
            else:
                self._frame(framed, [prefix, memoryview(message)])

    def frame_more(self) -> bool:
        """Make frames of bytes, or of the end; return whether there was anything, and room."""
        if not self.bytes:
            if self.last is None:
                return False
            self.frames.append(memoryview(self.last))
            self.last = None
            return True
        room = min(self.room, self.stream_room, _FRAMED_BYTES)
        if room <= 0:
            return False
        while self.bytes and room > 0:
            limit = min(room, self.max_frame)
            size, parts = 0, []
            while self.bytes and size < limit:
                part = self.bytes.popleft()
                if len(part) > limit - size:
                    self.bytes.appendleft(part[limit - size :])
                    part = part[: limit - size]
                size += len(part)
                parts.append(part)
            self._frame(size, parts)
            room -= size
        return True

    def forget(self, sent: int) -> None:
        """Drop what was sent."""
        self.sent_bytes += sent
        waiting = self.frames
        while waiting and sent >= len(waiting[0]):
            sent -= len(waiting.popleft())
        if sent:
            waiting[0] = waiting[0][sent:]

    def clear(self) -> None:
        """Drop everything."""
        self.bytes.clear()
        self.frames.clear()
        self.last = None

    def more_room(self, stream: int, size: int) -> bool:
        """Take note of wider windows; return whether they may be so wide."""
        if stream == 0:
            self.room += size
        elif stream == self.stream:
            self.stream_room += size
        return max(self.room, self.stream_room) <= frames.MAX_WINDOW

    def resize(self, initial_room: int) -> bool:
        """Take note of what a stream's window begins with; return whether it may be so wide."""
        self.stream_room += initial_room - self._initial_room
        self._initial_room = initial_room
        return self.stream_room <= frames.MAX_WINDOW

    def _frame(self, size: int, parts: list[memoryview]) -> None:
        header = frames.HEADER.pack(size >> 8, size & 0xFF, Kind.DATA, 0, self.stream)
        self.frames.append(memoryview(header))
        self.frames += parts
        self.room -= size
        self.stream_room -= size
        self.data_frames += 1
