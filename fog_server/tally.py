"""Counts of windows by model, kept cheaply and shown to Prometheus when its page is asked for.

A counter of Prometheus' own takes a lock for each number, and a window changes nine of them.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from headtail.metrics import LATENCY_BUCKETS_S

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
QUEUE, COMPUTE = "queue", "compute"
OK = "ok"  # the outcome of windows that were answered
_BOUNDS_NS = tuple(round(1e9 * bound_s) for bound_s in LATENCY_BUCKETS_S)
_S = 1e9  # nanoseconds


class Tally:
    """What became of one model's windows since the start; `Tallies.lock` is held to touch it."""

    __slots__ = ("batches", "compute", "compute_ns", "ok", "outcomes", "queue", "queue_ns")

    def __init__(self) -> None:
        """Count nothing yet."""
        self.ok = 0
        """Windows that were answered."""
        self.outcomes: Counter[str] = Counter()
        """Windows that were not, by what became of them instead."""
        self.batches: Counter[int] = Counter()
        """How many were run, by their windows."""
        # Requests by bucket, the last beyond all bounds.
        self.queue = [0] * (len(_BOUNDS_NS) + 1)
        self.compute = [0] * (len(_BOUNDS_NS) + 1)
        self.queue_ns = self.compute_ns = 0

    def took(self, windows: int, queue_ns: int, compute_ns: int) -> None:
        """Count a request that was answered, and its times."""
        self.ok += windows
        self.queue[bisect_left(_BOUNDS_NS, queue_ns)] += 1
        self.compute[bisect_left(_BOUNDS_NS, compute_ns)] += 1
        self.queue_ns += queue_ns
        self.compute_ns += compute_ns


class Tallies(Collector):
    """A tally for each model; several threads may use it at once, under `lock`."""

    def __init__(self) -> None:
        """Start empty."""
        self.lock = threading.Lock()
        self._by_model: dict[str, Tally] = {}

    def of(self, model: str) -> Tally:
        """Return a model's tally."""
        tally = self._by_model.get(model)
        if tally is None:
            # Of two threads that come at once, both take the one that is first.
            tally = self._by_model.setdefault(model, Tally())
        return tally

    def count(self, model: str, outcome: str, windows: int = 1) -> None:
        """Count windows that were not answered."""
        tally = self.of(model)
        with self.lock:
            tally.outcomes[outcome] += windows

    def ended(self, outcome: str) -> int:
        """Return how many windows were answered, or have ended in this other way."""
        with self.lock:
            return sum(t.ok + t.outcomes[outcome] for t in list(self._by_model.values()))

    def collect(self) -> Iterator[Metric]:
        """Yield the times by stage, the windows by outcome and the sizes of batches."""
        duration = HistogramMetricFamily(
            "fog_request_duration_seconds",
            "Time of a request, by stage: queue (waiting for a slot) or compute (running the tail)",
            labels=["model", "stage"],
        )
        windows = CounterMetricFamily(
            "fog_windows", "Windows by outcome", labels=["model", "outcome"]
        )
        batches = HistogramMetricFamily(
            "fog_batch_windows",
            "Windows of the batches run, one agent's or several agents' together",
            labels=["model"],
        )
        with self.lock:
            for model, tally in list(self._by_model.items()):  # `of` adds to them without the lock
                if tally.ok:
                    windows.add_metric([model, OK], tally.ok)
                for outcome, count in tally.outcomes.items():
                    windows.add_metric([model, outcome], count)
                if any(tally.queue):
                    for stage, counts, total_ns in (
                        (QUEUE, tally.queue, tally.queue_ns),
                        (COMPUTE, tally.compute, tally.compute_ns),
                    ):
                        buckets = _buckets(LATENCY_BUCKETS_S, counts)
                        duration.add_metric([model, stage], buckets, total_ns / _S)
                if tally.batches:
                    counts = [0] * (len(BATCH_BUCKETS) + 1)
                    for size, count in tally.batches.items():
                        counts[bisect_left(BATCH_BUCKETS, size)] += count
                    total = sum(size * count for size, count in tally.batches.items())
                    batches.add_metric([model], _buckets(BATCH_BUCKETS, counts), total)
        yield from (duration, windows, batches)


_text: Callable[[float], str] = floatToGoString  # prometheus_client says no types


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return how many lie at or below each bound, as Prometheus has it."""
    below, found = 0.0, []
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        below += count
        found.append((_text(bound), below))
    return found
