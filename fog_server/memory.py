"""Memory that large messages leave behind in the C library's heap, given back to the system.

gRPC keeps a message in many small buffers, taken by whichever of its threads reads. glibc gives
each thread a heap of its own and returns none of them: after some messages of 60 MB a fog held 500
MB more than it used (measured; 160 MB with two heaps, and all of it back after a trim).
"""

import ctypes
import os
import threading
from pathlib import Path

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
_ARENAS = 2
CHECK_EVERY_S = 5.0
SLACK_BYTES = 4 << 20
"""Growth over the least that was seen which is worth a trim; one takes milliseconds."""


class HeapTrim:
    """Looks now and then, and trims the heap where it has grown; does nothing without glibc."""

    def __init__(self, every_s: float = CHECK_EVERY_S) -> None:
        """Start looking."""
        library = ctypes.CDLL(None)
        self._closed = threading.Event()
        if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
            return
        library.mallopt(_ARENA_MAX, _ARENAS)
        self._library = library
        self._every_s = every_s
        threading.Thread(target=self._watch, name="heap-trim", daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()

    def _watch(self) -> None:
        least = resident_bytes()
        while not self._closed.wait(self._every_s):
            if resident_bytes() > least + SLACK_BYTES:
                self._library.malloc_trim(0)
                # What a trim leaves is in use: only growth beyond it is worth another.
                least = resident_bytes()
            least = min(least, resident_bytes())


def resident_bytes() -> int:
    """Return this process's resident memory; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
