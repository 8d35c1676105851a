"""What is in flight: the calls and streams that a drain waits for."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from fog_server.refusal import Cause, refusal

Clock = Callable[[], float]
Send = Callable[[bytes | None], None]
WhenOver = Callable[[Callable[[], None]], bool]
"""Has something called once a client has its answer; returns False if that is so already."""
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
        """Send answers, and None for the end, with `send`.

        Where that has an attribute `many`, answers that leave together are given to it as a list.
        """
        self._send = send
        self._send_many: Callable[[list[bytes]], None] | None = getattr(send, "many", None)
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._answered_at = clock()
        self._outbox: list[bytes] = []
        self._is_sending = self._is_ending = False
        self._under_way = 0
        self._begun = self._ahead = 0
        self.received_bytes = self.sent_bytes = 0
        """Of the messages of windows that were begun, and of their answers."""
        self.is_ended = False
        self.is_last = False
        """Whether the stream takes no more windows, and ends once it has none to answer."""
        self.agent: str | None = None
        """Who uses the stream; None until its first window says so."""

    def begin(self, nbytes: int = 0) -> bool:
        """Count a window, a message of `nbytes`, that is to be answered; return whether it may."""
        with self._lock:
            if self.is_ended or self._is_ending or self.is_last:
                return False
            if self._under_way:
                self._ahead = _REMEMBERED
            elif self._ahead:
                self._ahead -= 1
            self._under_way += 1
            self._begun += 1
            self.received_bytes += nbytes
            return True

    @property
    def sends_ahead(self) -> bool:
        """Whether the agent sends on before it has its answer, or it is time to find out.

        Its windows then run on another thread than the one that reads the stream: they may run
        together, and are read meanwhile. With one in flight there is nothing to gain by that.
        """
        return self._ahead > 0 or self._begun % _PROBED == 1

    def answer(self, response: bytes, *, more: bool = False) -> None:
        """Send the answer of a window that was begun, or leave it with who sends now.

        Args:
            response: The message.
            more: Whether this thread has another answer at once, to leave together with this one.
        """
        with self._lock:
            self._under_way -= 1
            self.sent_bytes += len(response)
            self._outbox.append(response)
            if more or self._is_sending:
                return
            self._is_sending = True
            responses, self._outbox = self._outbox, []
        while True:
            try:
                if len(responses) == 1:
                    self._send(responses[0])
                else:
                    self._send_all(responses)
            except BaseException:
                self._break_off()
                raise
            with self._lock:
                if not self._outbox:
                    self._is_sending = False
                    self._answered_at = self._clock()
                    if self._is_ending or self.is_last:
                        if not self._under_way:
                            self._end()
                        self._changed.notify_all()
                    return
                responses, self._outbox = self._outbox, []

    def _send_all(self, responses: list[bytes]) -> None:
        if self._send_many is not None:
            self._send_many(responses)
            return
        for response in responses:
            self._send(response)

    def end(self) -> None:
        """End the stream with status OK once all windows that were begun are answered."""
        with self._lock:
            self._is_ending = True
            self._changed.wait_for(self._is_idle)
            self._end()

    def end_if_silent(self, settle_s: float) -> None:
        """End the stream if nothing is being answered, or was within the last `settle_s`."""
        with self._lock:
            if self._is_idle() and self._clock() - self._answered_at >= settle_s:
                self._end()

    def _break_off(self) -> None:
        """Stop sending; nothing more can be."""
        with self._lock:
            self._outbox.clear()
            self._is_sending = False
            self.is_ended = True
            self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not (self._under_way or self._is_sending or self._outbox)

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
        # Without the lock: it is held while streams are ended, and gRPC's one thread must not wait.
        self._unsent: set[object] = set()
        self._streams: set[Stream] = set()
        self._received_bytes = self._sent_bytes = 0  # of calls, and of streams that have ended
        self.is_draining = False
        """Whether answers say that their stream is about to end."""

    @property
    def streams(self) -> int:
        """Streams open now."""
        return len(self._streams)

    @property
    def wire_bytes(self) -> tuple[int, int]:
        """Bytes of all messages so far: of those received, and of those sent."""
        with self._changed:
            return (
                self._received_bytes + sum(stream.received_bytes for stream in self._streams),
                self._sent_bytes + sum(stream.sent_bytes for stream in self._streams),
            )

    def count_bytes(self, received: int, sent: int) -> None:
        """Count the messages of a call that is no stream."""
        with self._changed:
            self._received_bytes += received
            self._sent_bytes += sent

    @contextmanager
    def call(self, when_over: WhenOver | None = None) -> Iterator[None]:
        """Count one call while it lasts, and until it is over where that is told."""
        with self._changed:
            self._calls += 1
        if when_over is not None:
            token = object()
            self._unsent.add(token)
            if not when_over(partial(self._unsent.discard, token)):
                self._unsent.discard(token)
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
                self._received_bytes += stream.received_bytes
                self._sent_bytes += stream.sent_bytes
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
            while self._calls or self._unsent or self._streams:
                left_s = give_up_at - self._clock()
                is_late = left_s < drain_s / 2
                for stream in self._streams:
                    stream.is_last = is_late
                    stream.end_if_silent(0.0 if is_late else settle_s)
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, max(settle_s / 4, 0.005)))
        return True
