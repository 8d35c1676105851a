"""What is in flight: the calls and streams that a drain waits for."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fog_server.refusal import Cause, refusal

Clock = Callable[[], float]
Send = Callable[[bytes | None], None]
_PROBED = 32
"""Of so many windows one is handed on although none may wait behind it, to see whether one does."""
_REMEMBERED = 32
"""So many windows are handed on after the last behind which another was read."""
_RETRY_S = 1.0  # streams last for hours; there is no better guess


class Stream:
    """One agent's stream: a window is either answered whole, or the stream ended before it.

    Answers come from several threads. One of them sends at a time, what the others leave with it
    as well: a client that does not take its answers keeps one thread and no more.
    """

    def __init__(self, send: Send, clock: Clock) -> None:
        """Send answers, and None for the end, with `send`."""
        self._send = send
        self._clock = clock
        self._changed = threading.Condition()
        self._answered_at = clock()
        self._outbox: deque[bytes] = deque()
        self._is_sending = self._is_ending = False
        self._under_way = 0
        self._begun = self._ahead = 0
        self.is_ended = False
        self.is_last = False
        """Whether the stream takes no more windows, and ends once it has none to answer."""
        self.agent: str | None = None
        """Who uses the stream; None until its first window says so."""

    def begin(self) -> bool:
        """Count a window that is to be answered; return whether it may be."""
        with self._changed:
            if self.is_ended or self._is_ending or self.is_last:
                return False
            if self._under_way:
                self._ahead = _REMEMBERED
            elif self._ahead:
                self._ahead -= 1
            self._under_way += 1
            self._begun += 1
            return True

    @property
    def sends_ahead(self) -> bool:
        """Whether the agent sends on before it has its answer, or it is time to find out.

        Its windows then run on another thread than the one that reads the stream: they may run
        together, and are read meanwhile. With one in flight there is nothing to gain by that.
        """
        return self._ahead > 0 or self._begun % _PROBED == 1

    def answer(self, response: bytes) -> None:
        """Send the answer of a window that was begun, or leave it with who sends now."""
        with self._changed:
            self._under_way -= 1
            self._outbox.append(response)
            if self._is_sending:
                return
            self._is_sending = True
        while True:
            with self._changed:
                if not self._outbox:
                    self._is_sending = False
                    self._answered_at = self._clock()
                    if (self._is_ending or self.is_last) and not self._under_way:
                        self._end()
                    self._changed.notify_all()
                    return
                response = self._outbox.popleft()
            try:
                self._send(response)
            except BaseException:
                self._break_off()
                raise

    def end(self) -> None:
        """End the stream with status OK once all windows that were begun are answered."""
        with self._changed:
            self._is_ending = True
            self._changed.wait_for(self._is_idle)
            self._end()

    def end_if_silent(self, settle_s: float) -> None:
        """End the stream if nothing is being answered, or was within the last `settle_s`."""
        with self._changed:
            if self._is_idle() and self._clock() - self._answered_at >= settle_s:
                self._end()

    def _break_off(self) -> None:
        """Stop sending; nothing more can be."""
        with self._changed:
            self._outbox.clear()
            self._is_sending = False
            self.is_ended = True
            self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not self._under_way and not self._is_sending

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
