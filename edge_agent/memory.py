"""Keeping the process small where the C library's defaults assume a server."""

import ctypes

ARENAS = 2
_M_ARENA_MAX = -8  # malloc.h of glibc


def limit_arenas() -> None:
    """Let the threads share two arenas of malloc, where glibc would make eight per core.

    Each arena keeps what was freed in it: with a dozen threads that is 5 MB resident. Other C
    libraries have no arenas and no `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)
