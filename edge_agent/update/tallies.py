"""What each bundle did on this agent, as the fog compares it with others."""

import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edge_agent.result import FAILED, Result

BOUNDS_S = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Of the latencies that are counted, in seconds."""


@dataclass(slots=True)
class BundleTally:
    """Counts of one bundle since the run began."""

    windows: int = 0
    failed: int = 0
    fallback: int = 0
    energy_j: float = 0.0
    latency_s: float = 0.0
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """Up to each bound and above the one before; the last is of those above all."""
    shadows: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Windows that another bundle ran too, and those to which it gave the same answer; by digest
    of the other."""

    def add(self, result: Result) -> None:
        """Count a window that was answered."""
        self.windows += 1
        self.failed += result.fallback == FAILED
        self.fallback += result.fallback is not None
        self.energy_j += (result.compute_j or 0.0) + (result.tx_j or 0.0)
        self.latency_s += result.latency_s
        self.latency_counts[bisect_left(BOUNDS_S, result.latency_s)] += 1


class Tallies:
    """One tally a bundle; several threads may count and read."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._tallies: dict[str, BundleTally] = {}

    def take(self, results: Sequence[Result]) -> None:
        """Count results under the bundle that answered."""
        with self._lock:
            for result in results:
                self._of(result.bundle).add(result)

    def failed(self, digest: str, windows: int) -> None:
        """Count windows that a bundle could not answer, and another did."""
        with self._lock:
            self._of(digest).failed += windows

    def compared(self, digest: str, other: str, windows: int, agreed: int) -> None:
        """Count windows that another bundle ran too, and those to which it gave the same answer."""
        with self._lock:
            shadows = self._of(digest).shadows
            before, agreed_before = shadows.get(other, (0, 0))
            shadows[other] = before + windows, agreed_before + agreed

    def read(self) -> dict[str, BundleTally]:
        """Return each bundle's tally as it stands, by digest."""
        with self._lock:
            return {
                digest: replace(t, latency_counts=[*t.latency_counts], shadows={**t.shadows})
                for digest, t in self._tallies.items()
            }

    def _of(self, digest: str) -> BundleTally:
        return self._tallies.setdefault(digest, BundleTally())
