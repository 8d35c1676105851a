"""What a process and its children have used, from the kernel: processor time, memory, switches."""

import re
import time
from pathlib import Path

PROC = Path("/proc")


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, all threads, in seconds; 0 once it is gone.

    Source: clock_getcpuclockid(3); the id of such a clock is ~pid << 3 | 2 (CPUCLOCK_SCHED).
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for parent in found:
        for path in (PROC / str(parent) / "task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except OSError:
                continue
    return found


def tree_cpu_s(pid: int) -> float:
    """Return the processor time of a process and all below it, in seconds."""
    return sum(map(cpu_s, tree(pid)))


def tree_peak_bytes(pid: int) -> int:
    """Return the peak resident memory of a process and all below it, summed."""
    return sum(status_number(p, "VmHWM") << 10 for p in tree(pid))


def tree_switches(pid: int) -> int:
    """Return how often threads of a process and of all below it have waited for something."""
    paths = (path for p in tree(pid) for path in (PROC / str(p) / "task").glob("*/status"))
    return sum(_number(path, "voluntary_ctxt_switches") for path in paths)


def status_number(pid: int, name: str) -> int:
    """Return a number of /proc/PID/status, in its unit; 0 once the process is gone."""
    return _number(PROC / str(pid) / "status", name)


def _number(path: Path, name: str) -> int:
    try:
        match = re.search(rf"^{name}:\s+(\d+)", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
