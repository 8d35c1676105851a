"""What the tests of the executors evaluate; workers import it, so it stands alone."""

import ctypes
import itertools
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headtail.errors import ShapeMismatch


@dataclass
class Work:
    """Squares numbers and notes in a folder who did which; some items end badly."""

    folder: Path
    data: NDArray[np.float32] = field(default_factory=lambda: np.arange(1000, dtype=np.float32))
    deaths: dict[int, int] = field(default_factory=dict)
    """Of these items, how many of the first attempts end in SIGKILL."""
    refuses: int = -1
    breaks: int = -1
    blocks: int = -1
    deafens: int = -1
    """Of this item the worker hangs up, and lets none of its threads run."""
    naps_s: float = 0.0

    def __call__(self, item: int) -> float:
        """Return the item's square plus the sum of the data."""
        attempts = self._note(item)
        if attempts < self.deaths.get(item, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if item == self.refuses:
            raise ShapeMismatch("item", (1,), (item,))
        if item == self.breaks:
            raise ZeroDivisionError("never asked for")
        if item == self.deafens:
            sys.setswitchinterval(3600)
            native = ctypes.PyDLL(None)  # keeps the interpreter's lock
            native.shutdown(int(sys.argv[1]), socket.SHUT_WR)
            native.sleep(3600)
        while item == self.blocks:
            time.sleep(0.05)
        time.sleep(self.naps_s)
        self.data[0] += 0  # arrays can be written to, as in the caller
        return float(item * item + self.data.sum())

    def _note(self, item: int) -> int:
        """Write a file of its own for this attempt; return how many came before it."""
        for attempts in itertools.count():
            try:
                with (self.folder / f"{item}.{attempts}").open("x") as file:
                    file.write(str(os.getpid()))
            except FileExistsError:
                continue
            return attempts
        raise AssertionError("counts for ever")

    def expected(self, count: int) -> dict[int, float]:
        """Return what `count` items give."""
        return {i: float(i * i + self.data.sum()) for i in range(count)}

    def pids(self, pattern: str = "*") -> set[int]:
        """Return the processes that took items."""
        return {int(p.read_text()) for p in self.folder.glob(pattern) if p.read_text()}


def surroundings(item: int) -> tuple[dict[str, str], list[str]]:
    """Return the worker's environment and which libraries it has loaded."""
    libraries = ("tensorflow", "keras", "numba", "ray", "pytest")
    return dict(os.environ), [name for name in libraries if name in sys.modules]


class Stillborn:
    """Kills the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.kill, (_Itself(), signal.SIGKILL)

    def __call__(self, item: int) -> int:
        """Return the item."""
        return item


class _Itself:
    def __reduce__(self) -> tuple[object, ...]:
        return os.getpid, ()
