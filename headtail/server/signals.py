"""SIGTERM and SIGINT begin the drain; one that comes while bundles load waits for that."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Waits for a signal.

    Python runs a handler between two bytecodes of the main thread. A signal that comes just before
    that thread blocks on a lock would be noticed when the lock is free: never. So what is waited
    for is the byte that Python's own C handler writes as the signal arrives.
    """

    def __init__(self) -> None:
        self._arrived, self._arriving = socket.socketpair()
        self._arriving.setblocking(False)

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle both signals meanwhile; only the main thread may ask for it."""
        handlers = {number: signal.signal(number, self._handle) for number in NUMBERS}
        wakeup = signal.set_wakeup_fd(self._arriving.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._arrived.close()
            self._arriving.close()

    def wait(self) -> None:
        """Return once a signal has come; a second of its kind ends the program at once."""
        while self._arrived.recv(1)[0] not in NUMBERS:
            pass

    def end(self) -> None:
        """Make `wait` return as a signal does; on any thread."""
        with suppress(OSError):  # over already, or so many that one is read for certain
            self._arriving.send(bytes([signal.SIGTERM]))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
