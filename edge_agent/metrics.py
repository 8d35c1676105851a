"""Prometheus metrics of the agent; imported only where a page is asked for."""

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)

from edge_agent.link import FogLink
from edge_agent.link_metrics import LinkCollector
from edge_agent.meter import EnergyMeter, ProfileMeter
from edge_agent.plan import Plan
from edge_agent.result import Result
from edge_agent.sources.frame import FrameSource
from edge_agent.spool import Spool
from edge_agent.spool_commit import Committer
from edge_agent.storage_metrics import StorageCollector
from edge_agent.tally import PARTS, part_seconds
from headtail.metrics import LATENCY_BUCKETS_S, LogLines

POINT_LABELS = ("model", "partition_point", "encoding")


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
        ProcessCollector(registry=self.registry)
        self.log_lines = LogLines("edge", self.registry)
        point = (plan.manifest.name, str(plan.point.index), plan.encoding.value)
        latency = Histogram(
            "edge_latency_seconds",
            "Latency of one window by part; total is from arrival to outputs.",
            ("part", *POINT_LABELS),
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._latency = {part: latency.labels(part, *point) for part in PARTS}
        self._tx_bytes = Counter(
            "edge_tx_bytes_total",
            "Bytes of request messages sent to the fog.",
            POINT_LABELS,
            registry=self.registry,
        ).labels(*point)
        windows = Counter(
            "edge_windows_total",
            "Windows answered, by where their tail ran.",
            ("where", *POINT_LABELS),
            registry=self.registry,
        )
        self._windows = {place: windows.labels(place, *point) for place in ("fog", "edge")}
        self._fallback = Counter(
            "edge_fallback_total",
            "Windows finished on the edge because of the fog, by reason.",
            ("reason",),
            registry=self.registry,
        )
        for reason in ("unavailable", "deadline", "overloaded", "failed"):
            self._fallback.labels(reason)
        self._energy = self._energy_counters(meter)
        self._fog_up = Gauge(
            "edge_fog_up", "1 while a stream to the fog is open.", registry=self.registry
        )
        bundle = Info("edge_bundle", "The bundle that runs.", registry=self.registry)
        manifest = plan.manifest
        bundle.info({"name": manifest.name, "version": manifest.version, "digest": digest})

    def watch(self, link: FogLink) -> None:
        """Ask `link` how it stands whenever the page is read."""
        self._fog_up.set_function(lambda: float(link.is_up))
        self.registry.register(LinkCollector(link.lanes))

    def watch_storage(
        self, source: FrameSource, spool: Spool | None, committer: Committer | None
    ) -> None:
        """Ask these how they stand whenever the page is read."""
        self.registry.register(StorageCollector(source, spool, committer))

    def _energy_counters(self, meter: EnergyMeter) -> dict[str, Counter]:
        """Return a counter per component; none where nothing is modelled."""
        energy = Counter(
            "edge_energy_joules_total",
            "Modelled energy of the edge, from the profile's constants.",
            ("component", "profile", "mode", "modelled"),
            registry=self.registry,
        )
        if not isinstance(meter, ProfileMeter):
            return {}
        mode = meter.link.mode
        return {
            "compute": energy.labels("compute", meter.device.name, mode, "true"),
            "tx": energy.labels("tx", meter.link.name, mode, "true"),
        }

    def take(self, results: Sequence[Result]) -> None:
        """Count results."""
        for result in results:
            for part, histogram in self._latency.items():
                seconds = part_seconds(result, part)
                if seconds is not None:
                    histogram.observe(seconds)
            self._windows[result.where].inc()
            if result.fallback is not None:
                self._fallback.labels(result.fallback).inc()
        self._tx_bytes.inc(sum(r.tx_bytes for r in results))
        if self._energy:
            self._energy["compute"].inc(sum(r.compute_j or 0.0 for r in results))
            self._energy["tx"].inc(sum(r.tx_j or 0.0 for r in results))
