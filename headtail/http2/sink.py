"""Bytes on their way to the system, which takes them when it likes."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from headtail.http2.outbox import Outbox
from headtail.http2.transport import Transport, hang_up, wait_writable

log = logging.getLogger(__name__)
_BUFFERS = 64  # handed to the system in one call, at most
_LOOK_S = 1.0
_MOST_FRAMES = 100_000
"""Kept at once, answers to the other side's frames among them: 25 MB; windows are far fewer."""


class Sink:
    """What is common to all that is sent on a connection.

    Nobody waits but in `wait`: what the system does not take at once is kept.
    """

    def __init__(self, transport: Transport) -> None:
        """Begin; nothing is sent yet."""
        self.is_over = False
        """Whether nothing more can be sent: the call was broken off, or the connection broke."""
        self._transport = transport
        self._transport_send = transport.send
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._box = Outbox()
        self._is_ended = False  # no more messages
        self._is_full = False  # the system takes nothing now
        self._waiting = 0  # threads that see to what is kept
        self._flusher: threading.Thread | None = None

    def put(self, frame: bytes) -> None:
        """Send a frame that is no part of a message."""
        with self._lock:
            if not self.is_over:
                self._keep(frame)
                if not (self._is_full or self.is_over):
                    self._push()
                self._see_to_it()

    @property
    def mark(self) -> tuple[int, int]:
        """What changes when something is sent."""
        return self._box.sent_bytes, self._transport.unsent_bytes

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Who calls `wait` until it returns False; nobody else need see to what is kept."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                self._see_to_it()

    def wait(self, seconds: float, read: Callable[[], bool] | None) -> bool:
        """Wait a while for something to be sent; return whether there was anything to wait for.

        Args:
            seconds: At most, unless `read` takes longer.
            read: Has the other side heard, and returns whether it can.
        """
        with self._lock:
            if not self._is_behind:
                return False
            is_full = self._is_full
        if is_full:
            self._flush_when_writable(seconds)
        elif read is None or not read():
            with self._lock:
                if self._is_behind and not self._is_full:
                    self._changed.wait(min(_LOOK_S, seconds))
        return True

    def flush_in_background(self) -> None:
        """Send what the system did not take as soon as it does, on a thread of its own."""
        with self._lock:
            self._see_to_it()

    def break_off(self) -> None:
        """Send nothing more, and wake who reads.

        Once this has returned nobody who sends uses the socket, which may then be closed.
        """
        with self._lock:
            if not self.is_over:
                self._break_off()
                hang_up(self._transport.socket)

    def say_no_more(self) -> None:
        """Send nothing more; the connection stays for what the other side has still to read."""
        with self._lock:
            self._break_off()

    # All that follows runs with the lock held, but for the flusher.

    @property
    def _is_behind(self) -> bool:
        return bool(self._box.bytes) or self._is_full

    def _keep(self, frame: bytes) -> None:
        """Keep a frame that is no part of a message; who takes none of too many is given up."""
        self._box.frames.append(memoryview(frame))
        if len(self._box.frames) > _MOST_FRAMES:
            self._break_off()
            hang_up(self._transport.socket)

    def _go_on(self) -> None:
        if not self._is_full:
            self._flush()
        self._see_to_it()

    def _see_to_it(self) -> None:
        """Have someone send what the system did not take."""
        if not self._is_full:
            return
        if self._waiting:
            self._changed.notify_all()
        elif self._flusher is None:
            flusher = threading.Thread(
                target=self._keep_flushing, name="http2-flusher", daemon=True
            )
            try:
                flusher.start()
            except RuntimeError as error:  # who sends next tries again: a window, or a ping
                log.warning("what is to be sent has to wait for a thread: %s", error)
            else:
                self._flusher = flusher

    def _push(self) -> None:
        """Hand frames to the system until it takes no more."""
        waiting = self._box.frames
        try:
            while waiting:
                self._box.forget(self._transport_send(list(islice(waiting, _BUFFERS))))
            self._transport.flush()
            self._is_full = self._transport.unsent_bytes > 0
        except BlockingIOError:
            self._is_full = True
        except OSError:
            self._break_off()

    def _flush(self) -> None:
        """Send on, as far as the system and the other side let us."""
        while not self.is_over:
            self._push()
            if self._is_full or not self._box.frame_more():
                break
        if not self._is_behind:
            self._changed.notify_all()

    def _break_off(self) -> None:
        self.is_over = self._is_ended = True
        self._box.clear()
        self._is_full = False
        self._changed.notify_all()

    def _keep_flushing(self) -> None:
        while True:
            with self._lock:
                if not self._is_full:
                    self._flusher = None
                    return
            self._flush_when_writable(_LOOK_S)

    def _flush_when_writable(self, seconds: float) -> None:
        wait_writable(self._transport.socket, min(_LOOK_S, seconds))
        with self._lock:
            self._flush()
