"""The first moments of a job's process: it locks its folder, takes its cores, becomes the command.

`python -m optimizer.serve.launch LOCK CORES COMMAND...`; the lock lasts as long as the command, so
that no two processes work in one folder whatever becomes of the service.
"""

import fcntl
import os
import resource
import sys
from collections.abc import Sequence

IS_LOCKED = 75
"""Exit code where another process has the lock; EX_TEMPFAIL of sysexits.h."""


def main(argv: Sequence[str]) -> int:
    """Become the command; returns only where that must not be."""
    lock, cores, *command = argv
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return IS_LOCKED
    os.set_inheritable(handle, True)
    for output in (1, 2):
        _end_torn_line(output)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    os.execv(command[0], command)  # noqa: S606 - a program and its arguments, no shell


def _end_torn_line(output: int) -> None:
    """End what a killed process left of its last line, so that the next begins whole."""
    size = os.fstat(output).st_size
    if size and os.pread(output, 1, size - 1) != b"\n":
        os.write(output, b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
