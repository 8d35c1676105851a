"""The space of what was read of a file that a process goes on writing to, given back."""

import ctypes
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

# Of linux/falloc.h: the file keeps its size, the range reads as zeros and takes no blocks.
_KEEP_SIZE, _PUNCH_HOLE = 1, 2


def release(path: Path, end: int) -> None:
    """Give back the space of the bytes before `end`; nothing that is written meanwhile is lost.

    Offsets stay what they are. A file system that cannot do it keeps the bytes.
    """
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    # The last byte stays: whoever begins a line looks whether the one before was ended.
    if end <= 1:
        return
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if fallocate(handle, _KEEP_SIZE | _PUNCH_HOLE, 0, end - 1):
            log.warning("%s keeps its space: %s", path, os.strerror(ctypes.get_errno()))
    finally:
        os.close(handle)
