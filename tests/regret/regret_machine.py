"""What the grid ran on, and how busy it was with it."""

import os
import platform
import time
from pathlib import Path

import msgspec

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Load(msgspec.Struct, frozen=True):
    """Shares of the machine's cores that were in use while something was measured."""

    name: str
    seconds: float
    fog: float
    agents: float
    """Agents, links and the program itself."""
    everything: float
    """All that ran on the machine."""

    def text(self) -> str:
        """Return the shares as one line."""
        return (
            f"{self.name}: {self.seconds:.0f} s, cores busy {self.everything:.0%}"
            f" (fog {self.fog:.0%}, agents and links {self.agents:.0%})"
        )


class Meter:
    """Reads CPU times from /proc."""

    def __init__(self, fog_pid: int) -> None:
        """Watch the fog server of that process id, and this program with its children."""
        self.loads: list[Load] = []
        self._fog_pid = fog_pid
        self._before = self._read()

    def begin(self) -> None:
        """Begin to count."""
        self._before = self._read()

    def end(self, name: str) -> str:
        """Keep the load since `begin` and return it as text."""
        before, after = self._before, self._read()
        seconds, fog, agents, busy = (b - a for a, b in zip(before, after, strict=True))
        room = seconds * len(os.sched_getaffinity(0))
        load = Load(name, seconds, fog / room, agents / room, busy / room)
        self.loads.append(load)
        return load.text()

    def _read(self) -> tuple[float, float, float, float]:
        """Return now, and CPU seconds of the fog, of this program, of the machine."""
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _, _, irq, soft = map(int, first[:7])
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        own = [pid for pid in (str(os.getpid()), *children) if pid != str(self._fog_pid)]
        return (
            time.monotonic(),
            _cpu_s(str(self._fog_pid)),
            sum(map(_cpu_s, own)),
            (user + nice + system + irq + soft) / TICKS_PER_S,
        )


def describe_machine() -> str:
    """Return the machine in a sentence."""
    cores = len(os.sched_getaffinity(0))
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = names[0] if names else platform.machine()
    python = platform.python_version()
    return f"{cores} cores ({name}), {memory:.0f} GiB, Linux {platform.release()}, Python {python}"


def _cpu_s(pid: str) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
