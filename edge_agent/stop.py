"""Asking a run to end: a flag that signal handlers may set and that select can wait for."""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Stop:
    """Set once, by a signal or by a failure in another thread.

    Built on a pipe and not on `threading.Event`: an event's lock may be held by the very thread in
    which the signal handler runs.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self.is_set = False
        self._polls: dict[int, select.poll] = {}

    def set(self) -> None:
        """Ask the run to end."""
        if not self.is_set:
            self.is_set = True
            os.write(self._write, b"x")

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds` or until set; return whether it is set."""
        select.select([self._read], [], [], max(0.0, seconds))
        return self.is_set

    def wait_readable(self, descriptor: int) -> bool:
        """Wait until `descriptor` has something to read; return False if set before that."""
        if descriptor not in self._polls:
            self._polls[descriptor] = poll = select.poll()
            for each in (descriptor, self._read):
                poll.register(each, select.POLLIN)
        ready = dict(self._polls[descriptor].poll())
        return not self.is_set and descriptor in ready

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Set on SIGTERM and SIGINT; a second one of the same kind ends the program at once.

        Only a process's main thread may handle signals; elsewhere this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            del frame
            signal.signal(number, signal.SIG_DFL)
            self.set()

        before = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
        # Python runs `handle` between two bytecodes; its C handler writes at once, so that a signal
        # which comes just before a select does not wait for what the select waits for.
        wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Free the pipe."""
        os.close(self._read)
        os.close(self._write)
