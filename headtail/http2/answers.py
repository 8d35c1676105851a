"""What a call's method sends: headers first, messages, and its status last."""

import threading
import time
from collections.abc import Callable, Sequence

from headtail.http2.metadata import CONTENT_TYPE, End, Metadata, metadata_headers, trailers
from headtail.http2.outgoing import Outgoing
from headtail.http2.received import Received
from headtail.http2.transport import Buffer

Send = Callable[[Buffer | None], None]


class Answers:
    """Any thread sends; it waits while the client takes nothing, up to a bound."""

    def __init__(self, outgoing: Outgoing, received: Received, patience_s: float) -> None:
        """Begin on the thread that reads.

        Args:
            outgoing: Sends.
            received: What the same client sends.
            patience_s: A client that takes nothing for so long is given up.
        """
        self._outgoing = outgoing
        self._received = received
        self._patience_s = patience_s
        self._reader = threading.get_ident()
        self._lock = threading.Lock()
        self._has_begun = False

    def begin(self, initial_metadata: Metadata = ()) -> bool:
        """Send the headers that begin an answer; return whether they were not sent before."""
        with self._lock:
            if self._has_begun:
                return False
            headers = [(":status", "200"), ("content-type", CONTENT_TYPE)]
            self._outgoing.send_headers([*headers, *metadata_headers(initial_metadata)])
            self._has_begun = True  # not earlier: other threads send messages once it is set
            return True

    def end(self, end: End) -> None:
        """Send the status, once."""
        self.begin()
        self._outgoing.finish(trailers(end))

    def wait(self) -> None:
        """Wait until the client has taken everything; it is given up if it takes nothing."""
        outgoing = self._outgoing
        # The thread that reads must do so: it would else wait for what only it finds out.
        is_reader = threading.get_ident() == self._reader
        read = self._received.read_ahead if is_reader else None
        with outgoing.attended():
            last_s, mark = time.monotonic(), outgoing.mark
            while outgoing.wait(self._patience_s, read):
                now_s, before, mark = time.monotonic(), mark, outgoing.mark
                if mark != before:
                    last_s = now_s
                elif now_s - last_s >= self._patience_s:
                    outgoing.break_off()

    def sender(self, end: Callable[[], None]) -> Send:
        """Return what sends a message, or calls `end` for None.

        Its attribute `many` sends several messages at once.
        """
        outgoing = self._outgoing

        def send(message: Buffer | None) -> None:
            if message is None:
                end()
                return
            if not self._has_begun:
                self.begin()
            if outgoing.send(message):
                self.wait()

        def many(messages: Sequence[Buffer]) -> None:
            if not self._has_begun:
                self.begin()
            if outgoing.send_all(messages):
                self.wait()

        vars(send)["many"] = many
        return send
