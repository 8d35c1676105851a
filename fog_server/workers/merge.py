"""One page of metrics out of the workers' pages.

Counters and histograms are summed, and what a worker that ended had counted stays in the sum: a
counter never goes back. Gauges are summed where each worker tells of its own, and the largest is
shown where all tell of one thing that they share, as bundles and rollouts on the disk are. What
begins with `process_` is of one process, and carries the label `worker`.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

SUMMED_GAUGES = frozenset(
    {"fog_pending_requests", "fog_requests_queued", "fog_requests_running", "fog_streams"}
)
"""Gauges of which each worker has its own part."""
SHARED_COUNTERS = frozenset({"fog_rollout_changes"})
"""Counters of what every worker sees: each change of a rollout counts once, not once a worker."""
PARENT = "parent"
"""Value of the label `worker` where the process is the workers' parent."""
_OF_PROCESS = "process_"
_BEGAN = "_created"
_ADDED = frozenset({"counter", "histogram", "summary"})
Key = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and its labels, sorted."""


@dataclass(slots=True)
class Family:
    """A metric and its samples."""

    kind: str
    text: str
    samples: dict[Key, float] = field(default_factory=dict)


Page = dict[str, Family]


def read_page(text: str, worker: str) -> Page:
    """Return a page of Prometheus' text format; `worker` labels what is of its process alone.

    When a series began is left out: the sum of several began with none of them.
    """
    page: Page = {}
    for metric in text_string_to_metric_families(text):
        if metric.name.endswith(_BEGAN):
            continue
        family = page.setdefault(metric.name, Family(metric.type, metric.documentation))
        more = {"worker": worker} if metric.name.startswith(_OF_PROCESS) else {}
        for sample in metric.samples:
            labels = tuple(sorted({**sample.labels, **more}.items()))
            family.samples[sample.name, labels] = sample.value
    return page


class Pages(Collector):
    """The workers' latest pages, and the totals of those that ended; for several threads."""

    def __init__(self, own: CollectorRegistry) -> None:
        """Begin without workers; `own` has the parent's metrics."""
        self._own = own
        self._lock = threading.Lock()
        self._live: dict[int, Page] = {}
        self._ended: Page = {}
        # Of shared counters: what was shown when a worker began, by worker.
        self._bases: dict[int, dict[Key, float]] = {}
        self._shared: dict[Key, float] = {}

    def put(self, worker: int, text: str) -> None:
        """Take a worker's latest page."""
        page = read_page(text, str(worker))
        with self._lock:
            self._bases.setdefault(worker, dict(self._shared))
            self._live[worker] = page
            self._see_shared()

    def ended(self, worker: int) -> None:
        """Add what a worker counted to the totals of those that ended."""
        with self._lock:
            page = self._live.pop(worker, {})
            self._bases.pop(worker, None)
            for name, family in page.items():
                if family.kind in _ADDED and name not in SHARED_COUNTERS:
                    _add(self._ended.setdefault(name, Family(family.kind, family.text)), family)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of all of them."""
        own = read_page(generate_latest(self._own).decode(), PARENT)
        with self._lock:
            merged = merge([own, *self._live.values(), self._ended])
            for name in SHARED_COUNTERS & merged.keys():
                merged[name].samples = dict(self._shared)
        for name in sorted(merged):
            family = merged[name]
            metric = Metric(name, family.text, family.kind)
            metric.samples = [
                Sample(key, dict(labels), value) for (key, labels), value in family.samples.items()
            ]
            yield metric

    def total(self, name: str) -> float:
        """Return the sum of a gauge over all workers, as they were asked last."""
        with self._lock:
            families = [page[name] for page in self._live.values() if name in page]
            return sum(sum(family.samples.values()) for family in families)

    def _see_shared(self) -> None:
        """Let every shared counter follow the worker that has seen most."""
        for worker, page in self._live.items():
            base = self._bases[worker]
            for name in SHARED_COUNTERS & page.keys():
                for key, value in page[name].samples.items():
                    seen = base.get(key, 0.0) + value
                    self._shared[key] = max(self._shared.get(key, 0.0), seen)


def merge(pages: Iterable[Mapping[str, Family]]) -> Page:
    """Return one page; see this module's first lines."""
    merged: Page = {}
    for page in pages:
        for name, family in page.items():
            into = merged.setdefault(name, Family(family.kind, family.text))
            if family.kind in _ADDED or name in SUMMED_GAUGES:
                _add(into, family)
            else:
                for key, value in family.samples.items():
                    into.samples[key] = max(into.samples.get(key, value), value)
    return merged


def _add(into: Family, family: Family) -> None:
    for key, value in family.samples.items():
        into.samples[key] = into.samples.get(key, 0.0) + value
