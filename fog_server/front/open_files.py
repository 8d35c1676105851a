"""Room for the files that connections are: many systems give 1024 at first, and more if asked."""

import logging
import resource

OTHERS = 256
"""Open files that are no connections: bundles, listeners, pipes, and what libraries hold."""
_ENDS = 3  # of a relayed connection: the client's, and both of the one to gRPC, which is here too

log = logging.getLogger(__name__)


def files_of(connections: int, streams: int) -> int:
    """Return how many files are open at most: so many connections of the front, and streams."""
    return _ENDS * connections + streams + OTHERS


def allow_files(wanted: int) -> None:
    """Let this process have so many files open, as far as the system permits; else say so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    given = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))
    except (OSError, ValueError):  # macOS has a limit of its own below the hard one
        given = soft
    if given < wanted:
        text = "expected room for %d open files, the system gives %d: connections may have to wait"
        log.warning(text, wanted, given)
