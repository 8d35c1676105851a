"""The machine's cores, GPUs and memory, dealt out to jobs."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from headtail.errors import ConfigError, RequestInvalid
from optimizer.serve.config import Capacity
from optimizer.serve.job import Resources

_CONTROL_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Grant:
    """What one job has."""

    cores: tuple[int, ...]
    """Numbers of its CPU cores, as the kernel has them."""
    gpus: tuple[int, ...]
    """CUDA's numbers of its GPUs."""
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is for all jobs together."""

    cores: tuple[int, ...]
    gpus: tuple[int, ...]
    memory_bytes: int
    job_memory_bytes: int
    """What a job has that does not say how much it needs."""

    def fill(self, wanted: Resources) -> Resources:
        """Return what a job asks for, with what it left to the service filled in.

        Raises:
            RequestInvalid: If the whole machine has not as much.
        """
        memory = wanted.memory_bytes or min(self.job_memory_bytes, self.memory_bytes)
        filled = Resources(wanted.cpus, wanted.gpus, memory)
        for name, asked, there in (
            ("cpus", filled.cpus, len(self.cores)),
            ("gpus", filled.gpus, len(self.gpus)),
            ("memory_bytes", filled.memory_bytes, self.memory_bytes),
        ):
            if asked > there:
                raise RequestInvalid(
                    f"resources, {name}", f"expected at most {there}, received {asked}"
                )
        return filled

    def grant(self, wanted: Resources, granted: Iterable[Grant]) -> Grant | None:
        """Return what a job gets beside those that run; None where there is not enough left."""
        others = list(granted)
        cores = _left(self.cores, (g.cores for g in others))
        gpus = _left(self.gpus, (g.gpus for g in others))
        memory = self.memory_bytes - sum(g.memory_bytes for g in others)
        is_enough = (
            len(cores) >= wanted.cpus and len(gpus) >= wanted.gpus and memory >= wanted.memory_bytes
        )
        if not is_enough:
            return None
        return Grant(cores[: wanted.cpus], gpus[: wanted.gpus], wanted.memory_bytes)


def find_machine(capacity: Capacity) -> Machine:
    """Return what this machine has of what the configuration allows.

    Raises:
        ConfigError: If it allows more cores than there are.
    """
    cores = tuple(sorted(os.sched_getaffinity(0)))
    if capacity.cpus > len(cores):
        raise ConfigError(
            "capacity.cpus",
            f"expected at most the {len(cores)} there are, received {capacity.cpus}",
        )
    return Machine(
        cores[: capacity.cpus or len(cores)],
        tuple(range(capacity.gpus)),
        capacity.memory_bytes or _memory_bytes(),
        capacity.job_memory_bytes,
    )


def _memory_bytes() -> int:
    """Return the machine's memory, or what its control groups allow where that is less."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([whole, *_group_limits()])


def _group_limits() -> Iterator[int]:
    """Yield the memory limits of this process's control group and of those that it lies in."""
    try:
        lines = _OWN_GROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        # `0::/system.slice/optimizer.service` of version 2, `9:memory:/...` of version 1.
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = _CONTROL_GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _CONTROL_GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(path)
        # In a container the path may be that of the host, of which only the root is seen.
        for parent in (group, *group.parents):
            try:
                limit = (root / str(parent).lstrip("/") / name).read_text(encoding="ascii")
            except OSError:
                continue
            if limit.strip().isdigit():
                yield int(limit)


def _left(all_of: tuple[int, ...], taken: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    gone = {number for group in taken for number in group}
    return tuple(n for n in all_of if n not in gone)
