"""What a commit costs per window, by the size of the group, against an append that is synced."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_agent.spool import Change, Spool
from edge_agent.spool_entry import Entry

pytestmark = pytest.mark.bench
GROUPS = (1, 4, 8, 16, 32, 64, 128)
ROUNDS = 30


def entries(first: int, count: int, payload: bytes) -> list[Entry]:
    """Return windows in a row."""
    return [
        Entry(i, i, "", None, "d" * 64, 1, "int8", True, payload, 0.0)
        for i in range(first, first + count)
    ]


def costs(step: Callable[[int], None], windows: int) -> tuple[float, float]:
    """Return the median wall time and the mean processor time of a step, in us a window."""
    seconds = []
    cpu_s = time.process_time()
    for i in range(ROUNDS):
        start = time.perf_counter()
        step(i)
        seconds.append(time.perf_counter() - start)
    cpu_s = time.process_time() - cpu_s
    return 1e6 * float(np.median(seconds)) / windows, 1e6 * cpu_s / ROUNDS / windows


def commit_costs(path: Path, sync: str, group: int, payload: bytes) -> tuple[float, float]:
    """Return what a window costs that is added in one commit and removed in the next."""
    spool = Spool(path, sync)
    spool.begin("source", "sink", 0, 0)
    groups = [entries(i * group, group, payload) for i in range(ROUNDS)]
    try:
        return costs(lambda i: spool.commit(Change(groups[i], i * group, 0)), group)
    finally:
        spool.remove()


def append_costs(path: Path, group: int, payload: bytes) -> tuple[float, float]:
    """Return what a window costs that is appended to a bare file with others, and synced."""
    with path.open("wb", buffering=0) as file:

        def step(i: int) -> None:
            file.write(payload * group)
            os.fdatasync(file.fileno())

        return costs(step, group)


def row(name: str, values: Sequence[float]) -> None:
    """Print a line of the table."""
    print(f"{name:26}" + "".join(f"{value:9.1f}" for value in values))


@pytest.mark.parametrize("size", [32, 1024, 16384])
def test_commit_by_group(tmp_path: Path, size: int) -> None:
    """Print wall and processor time, full, normal and bare."""
    payload = os.urandom(size)
    print(f"\nus a window of {size} bytes, median of {ROUNDS} commits")
    print(f"{'windows a commit':26}" + "".join(f"{group:9}" for group in GROUPS))
    for sync in ("full", "normal"):
        found = [commit_costs(tmp_path / "s", sync, group, payload) for group in GROUPS]
        row(f"spool, {sync}, wall", [wall for wall, _ in found])
        row(f"spool, {sync}, processor", [cpu for _, cpu in found])
    found = [append_costs(tmp_path / "a", group, payload) for group in GROUPS]
    row("append, fdatasync, wall", [wall for wall, _ in found])
