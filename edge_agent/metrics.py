"""Prometheus metrics of the agent; imported only where a page is asked for."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_agent.accumulators import Spread, Spreads, Total, Totals
from edge_agent.agent import FALLBACK_REASONS
from edge_agent.confidence import confidence
from edge_agent.lanes import Lanes
from edge_agent.link import FogLink
from edge_agent.link_metrics import LinkCollector
from edge_agent.meter import EnergyMeter, ProfileMeter
from edge_agent.plan import Plan
from edge_agent.result import FAILED, Result
from edge_agent.sources.frame import FrameSource
from edge_agent.storage_metrics import StorageCollector
from edge_agent.tally import PARTS
from headtail.metrics import LATENCY_BUCKETS_S, LogLines
from headtail.operations import Operations
from headtail.wire import Encoding

if TYPE_CHECKING:  # imported only where plans are chosen, or windows are kept
    from edge_agent.partition.live import LivePartition
    from edge_agent.spool import Spool
    from edge_agent.spool_commit import Committer

POINT_LABELS = ("model", "partition_point", "encoding")
CLASSIFICATION = "classification"
OPERATIONS = Operations.__struct_fields__
# From 0.1 ms to 10 s in the steps of Renard's R10: a round trip is known to a quarter of itself.
ROUND_TRIP_BUCKETS_S = tuple(
    step * 10.0**decade
    for decade in range(-4, 1)
    for step in (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
)
ERROR_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
TOGETHER = 64
"""Windows that are counted at once: what that needs is then in the processor's caches."""
LATEST = 32
"""Windows whose ways are looked at together."""
CONFIDENCE_BUCKETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)


class Metrics:
    """Counts results in a registry of its own."""

    def __init__(self, plan: Plan, digest: str, meter: EnergyMeter) -> None:
        """Register every metric, with its labels at zero.

        Args:
            plan: What the agent runs.
            digest: The bundle's.
            meter: Names the profiles behind the energies.
        """
        self.registry = CollectorRegistry()
        self._taken: deque[Result] = deque()
        self._lock = threading.Lock()
        self.registry.register(_Before(self._count))
        ProcessCollector(registry=self.registry)
        self.log_lines = LogLines("edge", self.registry)
        self._latency = Spreads(
            "edge_latency_seconds",
            "Latency of one window by part; network is from the message made to its answer, "
            "less queue and tail, total from arrival to outputs.",
            ("part", *POINT_LABELS),
            LATENCY_BUCKETS_S,
            self.registry,
        )
        self._tx_bytes = Totals(
            "edge_tx_bytes",
            "Bytes of request messages sent to the fog.",
            POINT_LABELS,
            self.registry,
        )
        self._windows = Totals(
            "edge_windows",
            "Windows answered, by where their tail ran.",
            ("where", *POINT_LABELS),
            self.registry,
        )
        self._energy = Totals(
            "edge_energy_joules",
            "Modelled energy of the edge, from the profile's constants.",
            ("component", "profile", "mode", "modelled"),
            self.registry,
        )
        self._confidence = Spreads(
            "edge_confidence_ratio",
            "Probability of the class that a window was given.",
            ("model",),
            CONFIDENCE_BUCKETS,
            self.registry,
        )
        self._operations = tuple(
            Gauge(
                f"edge_{part}_operations",
                f"What the {part} computes for one window, by kind of operation.",
                ("kind", *POINT_LABELS),
                registry=self.registry,
            )
            for part in ("head", "tail")
        )
        self._payload = Gauge(
            "edge_payload_bytes",
            "Bytes of one window's activation as it travels, without framing.",
            POINT_LABELS,
            registry=self.registry,
        )
        self._fallback = Counter(
            "edge_fallback_total",
            "Windows finished on the edge because of the fog, by reason.",
            ("reason",),
            registry=self.registry,
        )
        for reason in (*FALLBACK_REASONS.values(), FAILED):
            self._fallback.labels(reason)
        self._fog_up = Gauge(
            "edge_fog_up", "1 while a stream to the fog is open.", registry=self.registry
        )
        self._ways: dict[tuple[str, str, str], deque[float]] = {}
        self.registry.register(_WayCollector(self._ways))
        self._predictions: _Predictions | None = None
        self._find_partition: Callable[[], LivePartition | None] = lambda: None
        self._digest = digest
        self._bundles = {digest: (plan.manifest, meter)}
        self._counted: dict[tuple[str, int, str], _Counters] = {}
        self._find_counters(digest, plan.point.index, plan.encoding.value)
        self._running: Callable[[], tuple[Plan, str]] = lambda: (plan, digest)
        self.registry.register(_BundleCollector(lambda: self._running()))

    def watch(self, find: Callable[[], FogLink | None]) -> None:
        """Ask the link in use how it stands whenever the page is read."""

        def lanes() -> Lanes | None:
            link = find()
            return link.lanes if link else None

        def is_up() -> float:
            link = find()
            return float(link is not None and link.is_up)

        self._fog_up.set_function(is_up)
        self.registry.register(LinkCollector(lanes))

    def watch_updates(self, running: Callable[[], tuple[Plan, str]], collector: Collector) -> None:
        """Ask these which bundle runs, and what became of updates."""
        self._running = running
        self.registry.register(collector)

    def watch_partition(self, find: "Callable[[], LivePartition | None]") -> None:
        """Ask this how plans are chosen whenever the page is read, and count predictions."""
        from edge_agent.partition.partition_metrics import PartitionCollector

        self._predictions = _Predictions(
            Spreads(
                "edge_predicted_latency_seconds",
                "Latency of one window as it was predicted when it went on.",
                POINT_LABELS,
                LATENCY_BUCKETS_S,
                self.registry,
            ),
            Spreads(
                "edge_prediction_error_ratio",
                "Distance of the predicted from the observed latency, as a share of the observed.",
                (),
                ERROR_BUCKETS,
                self.registry,
            ).of(),
        )
        self._find_partition = find
        self.registry.register(PartitionCollector(find))

    def partition_document(self) -> bytes | None:
        """Return the table that plans are chosen from, as JSON; None where they are fixed."""
        live = self._find_partition()
        if live is None:
            return None
        from edge_agent.partition.table import of_running

        return msgspec.json.encode(of_running(live))

    def watch_round_trips(self) -> Callable[[float], None]:
        """Return what is to be told of the round trip of each empty call to a fog, in seconds."""
        return Histogram(
            "edge_round_trip_seconds",
            "Round trip of an empty call to the fog, before a report on updates.",
            buckets=ROUND_TRIP_BUCKETS_S,
            registry=self.registry,
        ).observe

    def add_bundle(self, plan: Plan, digest: str, meter: EnergyMeter) -> None:
        """Count the windows that another bundle answers under its own labels."""
        self._bundles[digest] = plan.manifest, meter
        self._find_counters(digest, plan.point.index, plan.encoding.value)

    def watch_storage(
        self, source: FrameSource, spool: "Spool | None", committer: "Committer | None"
    ) -> None:
        """Ask these how they stand whenever the page is read."""
        self.registry.register(StorageCollector(source, spool, committer))

    def take(self, results: Sequence[Result]) -> None:
        """Take note of results; they are counted many at a time, and before the page is read."""
        self._taken.extend(results)
        if len(self._taken) >= TOGETHER:
            self._count()

    def _count(self) -> None:
        """Count what was taken note of; on any thread."""
        with self._lock:
            while self._taken:
                self._count_one(self._taken.popleft())

    def _count_one(self, result: Result) -> None:
        key = (result.bundle, result.partition_point, result.encoding)
        counters = self._counted.get(key) or self._find_counters(*key)
        counters.observe(result)
        if self._predictions is not None and result.predicted_s is not None:
            self._predictions.observe(counters.point, result)
        if counters.confidence and (sure := confidence(result.output)) is not None:
            counters.confidence.observe(sure)
        if result.fallback is not None:
            self._fallback.labels(result.fallback).inc()

    def _find_counters(self, digest: str, point: int, encoding: str) -> "_Counters":
        """Return the counters of the plan that a result names, made when it is first named.

        There are no more than the points and encodings of the bundles that ran.
        """
        known = digest if digest in self._bundles else self._digest
        manifest, meter = self._bundles[known]
        key = known, point, encoding
        if key not in self._counted:
            plan = Plan(manifest, manifest.points[point], Encoding(encoding))
            self._counted[key] = self._counters(plan, meter)
        self._counted[digest, point, encoding] = self._counted[key]
        return self._counted[key]

    def _counters(self, plan: Plan, meter: EnergyMeter) -> "_Counters":
        """Return a plan's counters, at zero where it is new."""
        point = (plan.manifest.name, str(plan.point.index), plan.encoding.value)
        self._count_operations(plan, point)
        self._payload.labels(*point).set(plan.payload_bytes)
        energy: tuple[Total, Total] | None = None
        if isinstance(meter, ProfileMeter):
            mode = meter.link.mode
            energy = (
                self._energy.of("compute", meter.device.name, mode, "true"),
                self._energy.of("tx", meter.link.name, mode, "true"),
            )
        return _Counters(
            point,
            {part: self._latency.of(part, *point) for part in PARTS},
            {place: self._windows.of(place, *point) for place in ("fog", "edge")},
            self._tx_bytes.of(*point),
            energy,
            self._confidence.of(point[0]) if plan.manifest.task == CLASSIFICATION else None,
            self._ways.setdefault(point, deque(maxlen=LATEST)),
        )

    def _count_operations(self, plan: Plan, point: tuple[str, str, str]) -> None:
        segments, middle = plan.manifest.segments, plan.point.index
        for gauge, part in zip(
            self._operations, (segments[:middle], segments[middle:]), strict=True
        ):
            total = sum((s.operations for s in part), Operations())
            for kind in OPERATIONS:
                gauge.labels(kind, *point).set(getattr(total, kind))


@dataclass(frozen=True, slots=True)
class _Counters:
    """What is counted of one plan."""

    point: tuple[str, str, str]
    """Values of `POINT_LABELS`."""
    latency: dict[str, Spread]
    """By part."""
    windows: dict[str, Total]
    """By where the tail ran."""
    tx_bytes: Total
    energy: tuple[Total, Total] | None
    """Compute and sending; None where nothing is modelled."""
    confidence: Spread | None
    """None where the model does not classify."""
    ways: deque[float]
    """Network times of the latest windows, in seconds."""

    def observe(self, result: Result) -> None:
        """Count one window: how long, where, and what it cost."""
        latency = self.latency
        latency["head"].observe(result.head_s)
        latency["tail"].observe(result.tail_s)
        latency["total"].observe(result.latency_s)
        if result.queue_s is not None:
            latency["queue"].observe(result.queue_s)
        if result.network_s is not None:
            latency["network"].observe(result.network_s)
            self.ways.append(result.network_s)
        self.windows[result.where].value += 1.0
        self.tx_bytes.value += result.tx_bytes
        if self.energy is not None:
            compute, sending = self.energy
            compute.value += result.compute_j or 0.0
            sending.value += result.tx_j or 0.0


@dataclass(frozen=True, slots=True)
class _Predictions:
    """What was predicted, and how far off that was."""

    latency: Spreads
    error: Spread

    def observe(self, point: tuple[str, str, str], result: Result) -> None:
        """Count one window; what came back from its fog was predicted for another way."""
        if result.predicted_s is None or result.fallback is not None:
            return
        self.latency.of(*point).observe(result.predicted_s)
        self.error.observe(abs(result.predicted_s / max(result.latency_s, 1e-9) - 1.0))


class _Before(Collector):
    """Does something before the metrics that were registered after it are read."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def collect(self) -> Iterator[Metric]:
        self._act()
        return iter(())


class _WayCollector(Collector):
    """Says how long the way of a window takes that is not hindered."""

    def __init__(self, ways: Mapping[tuple[str, str, str], deque[float]]) -> None:
        self._ways = ways

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "edge_network_low_seconds",
            f"First quartile of the network times of the latest {LATEST} windows.",
            labels=POINT_LABELS,
        )
        for point, way in list(self._ways.items()):
            times_s = sorted(way)
            if times_s:
                family.add_metric(point, times_s[len(times_s) // 4])
        yield family


class _BundleCollector(Collector):
    """Says which bundle takes windows."""

    def __init__(self, running: Callable[[], tuple[Plan, str]]) -> None:
        self._running = running

    def collect(self) -> Iterator[Metric]:
        plan, digest = self._running()
        manifest = plan.manifest
        value = {"name": manifest.name, "version": manifest.version, "digest": digest}
        yield InfoMetricFamily("edge_bundle", "The bundle that runs.", value=value)
