"""Whether a program still gets anywhere, and the heartbeat that says so only while it does."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from headtail.systemd import Notifier

log = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""

STALL_S = 30.0
"""Work under way that ends nowhere for so long is stuck; a watchdog's own interval wins."""


class Progress:
    """Work that was begun must end: with some under way, the count of what ended must move."""

    def __init__(
        self,
        what: str,
        underway: Callable[[], int],
        ended: Callable[[], int],
        stall_s: float,
        clock: Callable[[], float],
    ) -> None:
        """Begin to watch.

        Args:
            what: The plural of what is counted, for the text.
            underway: How many are under way now.
            ended: How many have ended since the start.
            stall_s: How long none may end while some are under way.
            clock: Monotonic seconds.
        """
        self._what = what
        self._underway = underway
        self._ended = ended
        self._stall_s = stall_s
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = ended()
        self._was_idle = True
        self._since_s = clock()

    def check(self) -> str | None:
        """Return how long nothing has ended, where that is too long."""
        with self._lock:
            now_s, ended, underway = self._clock(), self._ended(), self._underway()
            # What began since the last look may have begun just now.
            if ended != self._seen or not underway or self._was_idle:
                self._seen, self._since_s = ended, now_s
            self._was_idle = not underway
            stalled_s = now_s - self._since_s
        if stalled_s < self._stall_s:
            return None
        return f"{underway} {self._what} under way and none ended for {stalled_s:.0f} s"


class Threads:
    """Notices a thread that dies of an exception: the program limps, and must not call itself live.

    Python prints such a traceback and goes on without the thread.
    """

    def __init__(self) -> None:
        self._dead: str | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See every thread's end meanwhile; one by an exception is logged as an error."""
        before = threading.excepthook
        threading.excepthook = self._died
        try:
            yield
        finally:
            threading.excepthook = before

    def check(self) -> str | None:
        """Return the first thread that died and of what."""
        return self._dead

    def _died(self, death: threading.ExceptHookArgs) -> None:
        if death.exc_type is SystemExit:
            return
        name = death.thread.name if death.thread else "unknown"
        self._dead = self._dead or f"thread {name} died of {death.exc_type.__name__}"
        error = death.exc_value or death.exc_type()
        log.error("thread %s died", name, exc_info=error)


def first_of(checks: Sequence[Check]) -> Check:
    """Return a check that finds what the first of `checks` finds that finds anything."""
    return lambda: next((wrong for check in checks if (wrong := check()) is not None), None)


class Heartbeat:
    """Tells a watchdog, three times an interval, that a check finds nothing wrong."""

    def __init__(self, notifier: Notifier, check: Check, status: Callable[[], str]) -> None:
        """Start, with a first beat at once; do nothing where there is no watchdog.

        Args:
            notifier: Where the beats go.
            check: Run before each; one that hangs gives no beat either.
            status: How things stand, for `systemctl status`.
        """
        self._notifier = notifier
        self._check = check
        self._status = status
        self._wrong: str | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if notifier.watchdog_s is not None:
            self._thread = threading.Thread(
                target=self._run, args=(notifier.watchdog_s / 3,), name="heartbeat", daemon=True
            )
            self._thread.start()

    def __enter__(self) -> "Heartbeat":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop beating."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, interval_s: float) -> None:
        while True:
            self._beat()
            if self._closed.wait(interval_s):
                return

    def _beat(self) -> None:
        wrong = self._check()
        if wrong is None:
            if self._wrong is not None:
                log.warning("live again")
            self._notifier.beat(self._status())
        else:
            if self._wrong is None:
                log.error("not live: %s; the watchdog is not fed", wrong)
            self._notifier.status(f"not live: {wrong}")
        self._wrong = wrong
