"""Messages put together from the frames that carry them, wherever these begin and end."""

import grpc

from headtail.http2 import frames
from headtail.http2.inbox import Inbox, room_for
from headtail.http2.metadata import Broken
from headtail.http2.transport import Buffer

COPIED_BYTES = 1 << 15
"""A message up to this size is read with what is before it, and copied once."""
TRUSTED_BYTES = 1 << 20
"""Of a message that is only announced, what is allocated at once."""


class Assembly:
    """The message that is being read, if any."""

    def __init__(self, inbox: Inbox, max_message_bytes: int) -> None:
        """Begin between two messages."""
        self._inbox = inbox
        self._max_message_bytes = max_message_bytes
        self._prefix = b""  # what came of it in frames before
        self._message: bytearray | memoryview | None = None
        self._size = self._filled = 0

    @property
    def is_within(self) -> bool:
        """Whether a message has begun and is not whole."""
        return bool(self._prefix) or self._message is not None

    def read(self, left: int) -> tuple[int, Buffer | None]:
        """Read on in a frame.

        Args:
            left: How much of it there is, at least one byte.

        Returns:
            How much was read, and the message that is whole with that, if one is.

        Raises:
            Broken: If the message is none that we take.
        """
        if self._message is not None:
            return self._go_on(self._message, left)
        used = min(frames.PREFIX_BYTES - len(self._prefix), left)
        prefix = self._prefix + self._inbox.take(used)
        if len(prefix) < frames.PREFIX_BYTES:
            self._prefix = prefix
            return used, None
        self._prefix = b""
        size = self._read_prefix(prefix)
        if size <= min(left - used, COPIED_BYTES):
            return used + size, self._inbox.take(size)
        self._size, self._filled = size, 0
        if size > TRUSTED_BYTES:
            self._message = bytearray(TRUSTED_BYTES)
        else:
            self._message = room_for(size)
        return used, None

    def _read_prefix(self, prefix: bytes) -> int:
        is_compressed: int
        size: int
        is_compressed, size = frames.PREFIX.unpack(prefix)
        if is_compressed:
            text = "expected messages without compression"
            raise Broken(grpc.StatusCode.UNIMPLEMENTED, text, is_lost=False)
        if size > self._max_message_bytes:
            text = f"expected at most {self._max_message_bytes} bytes a message, received {size}"
            raise Broken(grpc.StatusCode.RESOURCE_EXHAUSTED, text, is_lost=False)
        return size

    def _go_on(self, message: bytearray | memoryview, left: int) -> tuple[int, Buffer | None]:
        if self._filled == len(message) and isinstance(message, bytearray):
            message += bytes(min(self._size - self._filled, self._filled))
        size = min(len(message) - self._filled, left)
        self._inbox.read_into(memoryview(message)[self._filled : self._filled + size])
        self._filled += size
        if self._filled < self._size:
            return size, None
        self._message = None
        return size, message
