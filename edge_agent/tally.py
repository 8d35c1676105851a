"""Running figures of a run, for the live view and the closing line."""

import math
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.result import Result
from headtail.tensor import Array

KEPT = 2048
"""Windows over which percentiles and the rate are taken."""
TOGETHER = 64
"""Windows that are counted at once: what that needs is then in the processor's caches."""
LAST_LABELS = 12
PARTS = ("head", "network", "queue", "tail", "total")
_ROW = struct.Struct(f"={len(PARTS)}f")


@dataclass(frozen=True, slots=True)
class Figures:
    """A snapshot."""

    windows: int
    windows_per_s: float
    """Over the last windows."""
    percentiles_s: dict[str, tuple[float, float]]
    """p50 and p99 of each part; a part nobody measured is absent."""
    where: dict[str, int]
    fallbacks: dict[str, int]
    last_labels: tuple[str, ...]
    tx_bytes: int
    compute_j: float | None
    tx_j: float | None
    correct: int
    judged: int
    """Windows whose true label the source knew."""


class Tally:
    """Counts results; taking and reading may happen on different threads."""

    def __init__(self, labels: Sequence[str], clock: Callable[[], float]) -> None:
        """Begin at nothing; `clock` is in monotonic seconds."""
        self._labels = labels
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: deque[Result] = deque()
        self._noted = 0
        self._windows = self._tx_bytes = self._correct = self._judged = 0
        self._compute_j: float | None = None
        self._tx_j: float | None = None
        self._where: Counter[str] = Counter()
        self._fallbacks: Counter[str] = Counter()
        # One row a window, one column a part; NaN where the part did not happen.
        self._parts_s = bytearray(KEPT * _ROW.size)
        self._last: deque[str] = deque(maxlen=LAST_LABELS)
        self._times: deque[tuple[float, int]] = deque([(clock(), 0)], maxlen=KEPT // 8)

    def take(self, results: Sequence[Result]) -> None:
        """Take note of results; they are counted many at a time, and before figures are read."""
        self._noted += len(results)
        self._times.append((self._clock(), self._noted))
        self._taken.extend(results)
        if len(self._taken) >= TOGETHER:
            with self._lock:
                self._count_taken()

    def _count_taken(self) -> None:
        """Count what was taken note of; with the lock held."""
        while self._taken:
            self._count(self._taken.popleft())

    def _count(self, result: Result) -> None:
        network_s, queue_s = result.network_s, result.queue_s
        _ROW.pack_into(
            self._parts_s,
            self._windows % KEPT * _ROW.size,
            result.head_s,
            math.nan if network_s is None else network_s,
            math.nan if queue_s is None else queue_s,
            result.tail_s,
            result.latency_s,
        )
        self._windows += 1
        self._tx_bytes += result.tx_bytes
        self._where[result.where] += 1
        if result.fallback is not None:
            self._fallbacks[result.fallback] += 1
        if result.compute_j is not None:
            self._compute_j = (self._compute_j or 0.0) + result.compute_j
        if result.tx_j is not None:
            self._tx_j = (self._tx_j or 0.0) + result.tx_j
        if result.truth is not None and 0 <= result.truth < len(self._labels):
            self._judged += 1
            self._correct += result.label == self._labels[result.truth]
        self._last.append(result.label or "?")

    def figures(self) -> Figures:
        """Return where things stand."""
        with self._lock:
            self._count_taken()
            (first_s, first), (_, last) = self._times[0], self._times[-1]
            elapsed_s = self._clock() - first_s
            return Figures(
                windows=self._windows,
                windows_per_s=(last - first) / elapsed_s if elapsed_s > 0 else 0.0,
                percentiles_s=_percentiles(self._rows()),
                where=dict(self._where),
                fallbacks=dict(self._fallbacks),
                last_labels=tuple(self._last),
                tx_bytes=self._tx_bytes,
                compute_j=self._compute_j,
                tx_j=self._tx_j,
                correct=self._correct,
                judged=self._judged,
            )

    def _rows(self) -> Array:
        """Return what the parts of the last windows took, shape (windows, parts)."""
        rows = np.frombuffer(bytes(self._parts_s), np.float32).reshape(KEPT, len(PARTS))
        return rows[: self._windows]


def describe(figures: Figures) -> str:
    """Return the closing line: windows, where, latency, accuracy where labels came along."""
    parts = [f"{figures.windows} windows"]
    parts += [f"{count} on {place}" for place, count in sorted(figures.where.items())]
    parts += [f"fallback {reason} {count}" for reason, count in sorted(figures.fallbacks.items())]
    if "total" in figures.percentiles_s:
        p50_s, p99_s = figures.percentiles_s["total"]
        parts.append(f"latency p50 {1e3 * p50_s:.2f} ms, p99 {1e3 * p99_s:.2f} ms")
    if figures.judged:
        share = figures.correct / figures.judged
        parts.append(f"accuracy {share:.4f} of {figures.judged} labelled")
    return "; ".join(parts)


def _percentiles(parts_s: Array) -> dict[str, tuple[float, float]]:
    found = {}
    for part, column in zip(PARTS, parts_s.T, strict=True):
        values = column[~np.isnan(column)]
        if len(values):
            p50, p99 = np.percentile(values, (50, 99))
            found[part] = (float(p50), float(p99))
    return found
