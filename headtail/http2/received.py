"""The messages of a call as a method takes them, and those that came while it was sending."""

from collections import deque
from collections.abc import Iterator

import grpc

from headtail.http2.incoming import Incoming
from headtail.http2.metadata import Broken, End
from headtail.http2.transport import Buffer

_AHEAD = 1000  # messages that are read before they are asked for, at most


class Cancelled(grpc.RpcError):
    """A call that its client has broken off."""


class Received:
    """An iterator for the one thread that reads."""

    def __init__(self, incoming: Incoming, max_ahead_bytes: int) -> None:
        """Begin; so many bytes are read ahead at most."""
        self.end: End | None = None
        """Why the messages ended, where the client did not say that there are no more."""
        self._incoming = incoming
        self._max_ahead_bytes = max_ahead_bytes
        self._ahead: deque[Buffer] = deque()
        self._ahead_bytes = 0
        self._is_discarding = False

    def __iter__(self) -> Iterator[Buffer]:
        """Yield messages as `next` returns them."""
        read = self._incoming.read
        while True:
            if self._ahead or self.end is not None:
                message = self._next()
            else:
                try:
                    message = read()  # as `_next`, with less to do for each
                except Broken as broken:
                    self.end = broken.end
                    continue
            if message is None:
                return
            yield message

    def __next__(self) -> Buffer:
        """Wait for a message and return it.

        Raises:
            Cancelled: If the client breaks the call off, or its time is up.
        """
        if (message := self._next()) is None:
            raise StopIteration
        return message

    def ready(self) -> bool:
        """Return whether there is a message that need not be waited for, one of up to 64 KiB."""
        return bool(self._ahead) or (self.end is None and self._incoming.ready())

    def read_ahead(self) -> bool:
        """Read on, and keep what comes; return whether that can go on.

        For the thread that reads while it waits for the client to take what is sent. The client
        cannot be told to wait meanwhile, so that there are bounds.
        """
        if self.end is not None:
            return False
        try:
            message = self._incoming.step()
        except Broken as broken:
            self.end = broken.end
            return False
        if message is not None and not self._is_discarding:
            self._ahead.append(message)
            self._ahead_bytes += len(message)
            if len(self._ahead) > _AHEAD or self._ahead_bytes > self._max_ahead_bytes:
                self.end = self._incoming.refuse("too many messages while no answer is taken").end
                return False
        return True

    def discard(self) -> None:
        """Keep nothing from now on: nobody asks for it any more."""
        self._is_discarding = True
        self._ahead.clear()

    def _next(self) -> Buffer | None:
        if self._ahead:
            message = self._ahead.popleft()
            self._ahead_bytes -= len(message)
            return message
        if self.end is None:
            try:
                return self._incoming.read()
            except Broken as broken:
                self.end = broken.end
        raise Cancelled(self.end.details)
