"""What is in flight: the calls and streams that a drain waits for."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fog_server.refusal import Cause, refusal

Clock = Callable[[], float]
Send = Callable[[bytes | None], None]
_RETRY_S = 1.0  # streams last for hours; there is no better guess


class Stream:
    """One agent's stream: a window is either answered whole, or the stream ended before it."""

    def __init__(self, send: Send, clock: Clock) -> None:
        """Send answers, and None for the end, with `send`."""
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._answered_at = clock()
        self.is_ended = False
        self.is_last = False
        """Whether the stream ends with the window that is being answered."""
        self.agent: str | None = None
        """Who uses the stream; None until its first window says so."""

    def answer(self, respond: Callable[[], bytes]) -> bool:
        """Send what `respond` returns, unless the stream has ended; return whether it has not."""
        with self._lock:
            if self.is_ended:
                return False
            self._send(respond())
            self._answered_at = self._clock()
            if self.is_last:
                self._end()
            return True

    def end(self) -> None:
        """End the stream with status OK, after the window that is being answered."""
        with self._lock:
            self._end()

    def end_if_silent(self, settle_s: float) -> None:
        """End the stream if nothing is being answered, or was within the last `settle_s`."""
        if self._lock.acquire(blocking=False):
            try:
                if self._clock() - self._answered_at >= settle_s:
                    self._end()
            finally:
                self._lock.release()

    def _end(self) -> None:
        if not self.is_ended:
            self.is_ended = True
            self._send(None)


class Activity:
    """Counts calls and streams, refuses streams over the limit, and drains both."""

    def __init__(
        self, max_streams: int, max_per_agent: int = 0, clock: Clock = time.monotonic
    ) -> None:
        """Start idle; `max_per_agent` 0 means no limit, `clock` is in seconds."""
        self._max_streams = max_streams
        self._max_per_agent = max_per_agent
        self._clock = clock
        self._changed = threading.Condition()
        self._calls = 0
        self._streams: set[Stream] = set()
        self.is_draining = False
        """Whether answers say that their stream is about to end."""

    @property
    def streams(self) -> int:
        """Streams open now."""
        return len(self._streams)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count one call while it lasts."""
        with self._changed:
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    @contextmanager
    def stream(self, send: Send) -> Iterator[Stream]:
        """Count one stream while it lasts, and end it.

        Raises:
            Overloaded: If as many are open as may be.
        """
        stream = Stream(send, self._clock)
        with self._changed:
            if len(self._streams) >= self._max_streams:
                raise refusal(Cause.STREAMS, f"{len(self._streams)} streams are open", _RETRY_S)
            self._streams.add(stream)
        try:
            yield stream
        finally:
            stream.end()
            with self._changed:
                self._streams.discard(stream)
                self._changed.notify_all()

    def claim(self, stream: Stream, agent: str) -> None:
        """Note whose stream it is, as its first window says.

        Raises:
            Overloaded: If the agent has as many others open as one may.
        """
        if stream.agent is not None:
            return
        with self._changed:
            others = sum(other.agent == agent for other in self._streams)
            if 0 < self._max_per_agent <= others:
                raise refusal(
                    Cause.AGENT_STREAMS, f"{others} streams of '{agent}' are open", _RETRY_S
                )
            stream.agent = agent

    def drain(self, drain_s: float, settle_s: float) -> bool:
        """Let what is in flight finish; return whether it did within `drain_s`.

        A stream is ended once it has been silent for `settle_s`: what its agent had sent before
        it knew of the drain has arrived by then. One that goes on sending is ended between two
        windows when half of the time is over.
        """
        give_up_at = self._clock() + drain_s
        with self._changed:
            while self._calls or self._streams:
                left_s = give_up_at - self._clock()
                is_late = left_s < drain_s / 2
                for stream in self._streams:
                    stream.is_last = is_late
                    stream.end_if_silent(0.0 if is_late else settle_s)
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, max(settle_s / 4, 0.005)))
        return True
