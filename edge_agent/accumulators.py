"""Counters and histograms that cost a window next to nothing, and become Prometheus's when read.

Those of `prometheus_client` take a lock for each change and find a bucket by trying one after
another: 1.5 to 4 us each (measured), of which a window needs ten. These are raised by one thread
at a time and looked at only when the page is read; a page read meanwhile shows a window counted in
some and not yet in others, as it does with theirs.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


class Total:
    """One counter."""

    __slots__ = ("created_s", "value")

    def __init__(self) -> None:
        """Begin at zero."""
        self.value = 0.0
        self.created_s = time.time()


class Spread:
    """One histogram."""

    __slots__ = ("_bounds", "counts", "created_s", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin with nothing; `bounds` rise, and each belongs to what lies below it."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Up to each bound and above the one before; the last is of those above all."""
        self.total = 0.0
        self.created_s = time.time()

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Totals(Collector):
    """Counters of one name, by the values of their labels."""

    def __init__(self, name: str, text: str, labels: Labels, registry: CollectorRegistry) -> None:
        """Begin with none."""
        self._name, self._text, self._labels = name, text, labels
        self._totals: dict[Labels, Total] = {}
        registry.register(self)

    def of(self, *values: str) -> Total:
        """Return the counter with these values, at zero where it is new."""
        known = self._totals.get(values)
        return known or self._totals.setdefault(values, Total())

    def collect(self) -> Iterator[Metric]:
        """Yield all of them."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        has_created = _has_created()
        for values, total in list(self._totals.items()):
            family.add_metric(values, total.value, total.created_s if has_created else None)
        yield family


class Spreads(Collector):
    """Histograms of one name, by the values of their labels."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Labels,
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """Begin with none; `bounds` are the upper ends of the buckets, rising, without infinity."""
        self._name, self._text, self._labels = name, text, labels
        self._bounds = tuple(bounds)
        # As the library writes numbers below a million.
        self._ends = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        self._spreads: dict[Labels, Spread] = {}
        registry.register(self)

    def of(self, *values: str) -> Spread:
        """Return the histogram with these values, empty where it is new."""
        known = self._spreads.get(values)
        return known or self._spreads.setdefault(values, Spread(self._bounds))

    def collect(self) -> Iterator[Metric]:
        """Yield all of them."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        has_created = _has_created()
        for values, spread in list(self._spreads.items()):
            counts = map(float, accumulate(spread.counts))
            family.add_metric(values, list(zip(self._ends, counts, strict=True)), spread.total)
            if has_created:
                labels = dict(zip(self._labels, values, strict=True))
                family.add_sample(f"{self._name}_created", labels, spread.created_s)
        yield family


def _has_created() -> bool:
    """Return whether pages say since when something is counted, which one may turn off."""
    (metric,) = Counter("example", "Of what counters say.", registry=None).collect()
    return len(metric.samples) > 1
