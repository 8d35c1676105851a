"""The processes of a job: started, found again, measured and ended.

A job's process outlives the service that started it. It is known by the lock on the job's folder,
and its children by a variable of their environment.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from optimizer.serve.capacity import Grant
from optimizer.serve.folder import JobFolder
from optimizer.serve.launch import IS_LOCKED

MARK = "OPTIMIZER_JOB"
"""Variable that holds the job's folder, in every process of the job."""
# Meant for the service itself.
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class JobProcess:
    """The process that works in a job's folder, with all that it started."""

    def __init__(self, folder: JobFolder, child: "subprocess.Popen[bytes] | None" = None) -> None:
        """Take the folder, and the process where it is a child of this one."""
        self._folder = folder
        self._child = child
        self._mark = f"{MARK}={folder.path}".encode()

    @property
    def exit_code(self) -> int | None:
        """How it ended: negative by a signal; None while it runs, or where nobody can know."""
        code = None if self._child is None else self._child.poll()
        return None if code == IS_LOCKED else code

    def is_alive(self) -> bool:
        """Return whether it runs, or another one in the same folder."""
        if self._child is not None and self._child.poll() is None:
            return True
        return is_locked(self._folder.lock)

    def terminate(self) -> None:
        """Ask it to end; what it started ends with it."""
        for pid, handle in self._members():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == pid:
                    signal.pidfd_send_signal(handle, signal.SIGTERM)

    def kill(self) -> bool:
        """End it and all that it started, whatever they do; return whether there was anything."""
        found = False
        for _, handle in self._members():
            found = True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        return found

    def memory_bytes(self) -> int:
        """Return the memory that all of them use; what they share is counted once."""
        own, shared = 0, [0]
        for pid, _ in self._members():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
                own += int(fields[1]) - int(fields[2])
                shared.append(int(fields[2]))
        return (own + max(shared)) * _PAGE_BYTES

    def _members(self) -> Iterator[tuple[int, int]]:
        """Yield each process of the job: its id, and a handle that never means another."""
        for path in Path("/proc").iterdir():
            if not path.name.isdigit():
                continue
            try:
                handle = os.pidfd_open(int(path.name))
            except OSError:
                continue
            try:
                if self._mark in (path / "environ").read_bytes().split(b"\0"):
                    yield int(path.name), handle
            except OSError:
                continue  # it is over, or another user's
            finally:
                os.close(handle)


def start(folder: JobFolder, command: Sequence[str], grant: Grant) -> JobProcess:
    """Start a job's command in its folder, in a session of its own.

    Raises:
        OSError: If that cannot be.
    """
    with folder.events.open("ab+") as events, folder.output.open("ab+") as output:
        cores = ",".join(map(str, grant.cores))
        launch = [sys.executable, "-P", "-m", "optimizer.serve.launch", str(folder.lock), cores]
        child = subprocess.Popen(  # noqa: S603 - our own programs
            [*launch, *command],
            cwd=folder.path,
            env=environment(os.environ, folder, grant),
            stdin=subprocess.DEVNULL,
            stdout=events,
            stderr=output,
            start_new_session=True,
        )
    return JobProcess(folder, child)


def environment(own: Mapping[str, str], folder: JobFolder, grant: Grant) -> dict[str, str]:
    """Return the environment of a job: the service's, with what the job may use."""
    variables = {name: value for name, value in own.items() if name not in _OWN}
    variables[MARK] = str(folder.path)
    variables["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, grant.gpus)) or "-1"
    variables.setdefault("OMP_NUM_THREADS", str(len(grant.cores)))
    if data := own.get("HEADTAIL_DATA"):
        variables["HEADTAIL_DATA"] = str(Path(data).absolute())
    return variables


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
