"""Files that may change while the server runs: read again then, and not believed if bad."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from headtail.errors import ConfigError

log = logging.getLogger(__name__)
T = TypeVar("T")
Stamp = tuple[tuple[int, ...] | None, ...]


class Watched(Generic[T]):
    """What was last read well from some files."""

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[], T],
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read for the first time.

        Args:
            paths: Files whose change calls for reading again.
            read: Reads them; raises ConfigError where they are not usable.
            interval_s: Shortest time between two looks at the files.
            clock: In seconds.

        Raises:
            ConfigError: If they are not usable now.
        """
        self._paths = paths
        self._read = read
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._value = read()
        self._looked_at = clock()

    def get(self) -> T:
        """Return the newest good content; what is wrong with newer content is logged once."""
        with self._lock:
            now = self._clock()
            if now - self._looked_at >= self._interval_s:
                self._looked_at = now
                self._refresh()
            return self._value

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            value = self._read()
        except ConfigError as error:
            if self._look() == stamp:
                self._stamp = stamp
                log.warning("%s; going on with what was read before", error)
            return
        # Files that changed meanwhile may not belong together: they are read at the next look.
        if self._look() == stamp:
            self._stamp, self._value = stamp, value
            log.info("read again: %s", ", ".join(map(str, self._paths)))

    def _look(self) -> Stamp:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
