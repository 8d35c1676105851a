"""Files that are mapped into the process, code above all, and what of them stays in memory."""

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

_SMAPS = Path("/proc/self/smaps")
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) [0-9a-f]+ \S+ (\d+) *(.*)")
_CODE = re.compile(r"\.so(\.[0-9.]+)?$|/bin/")
_COUNT = re.compile(r"(Rss|Anonymous): +(\d+) kB")
_DONTNEED = 4  # MADV_DONTNEED, madvise(2)


def let_go_of_files() -> int:
    """Unmap the pages of mapped code that are as on the disk; return how many bytes they took.

    They come back one by one as they are needed, mostly from the system's cache. To be called when
    a stage of the start is over: importing onnxruntime, gRPC and OpenSSL and loading a graph run
    through 40 MB of code and tables of which a window needs a quarter (measured). Does nothing
    where the system is not Linux.
    """
    try:
        mappings = list(_unchanged(_SMAPS.read_text(errors="replace")))
    except OSError:
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(
        size for start, stop, size in mappings if madvise(start, stop - start, _DONTNEED) == 0
    )


def _unchanged(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield start, stop and resident bytes of code's mappings that nobody wrote to or may write to.

    A page that was written to is no longer the file's, and would be lost: those that the loader
    relocated before it took the right to write away, for one. Programs and libraries stay mapped
    while this looks; any other file might make room for something else meanwhile.
    """
    span, is_file, resident = (0, 0), False, 0
    for line in text.splitlines():
        if match := _MAPPING.match(line):
            span = int(match[1], 16), int(match[2], 16)
            is_file = "w" not in match[3] and match[4] != "0" and bool(_CODE.search(match[5]))
        elif is_file and (count := _COUNT.match(line)):
            if count[1] == "Rss":
                resident = int(count[2]) << 10
            elif count[2] == "0" and resident:
                yield *span, resident
