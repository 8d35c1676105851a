"""What the fog server exports to Prometheus; every label comes from a small closed set."""

from collections.abc import Iterator
from enum import StrEnum
from functools import cache, partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fog_server.activity import Activity
from fog_server.admission import Admission
from fog_server.refusal import STREAM_CAUSES, Cause
from fog_server.store import BundleStore
from fog_server.tally import OK, Tallies
from headtail.errors import (
    DeadlineExceeded,
    HeadtailError,
    ModelNotFound,
    Overloaded,
    RequestInvalid,
    TensorError,
)
from headtail.metrics import LogLines
from headtail.server.authorization import Denial

UNKNOWN_MODEL = "unknown"  # what a client may call a model is no closed set


class Outcome(StrEnum):
    """How a request ended."""

    OK = OK
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    OVERLOADED = "overloaded"
    EXPIRED = "expired"
    FAILED = "failed"


def outcome_of(error: HeadtailError) -> Outcome:
    """Return the outcome that an error stands for."""
    match error:
        case RequestInvalid() | TensorError():
            return Outcome.INVALID
        case ModelNotFound():
            return Outcome.NOT_FOUND
        case Overloaded():
            return Outcome.OVERLOADED
        case DeadlineExceeded():
            return Outcome.EXPIRED
        case _:
            return Outcome.FAILED


class Metrics:
    """The server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register every metric."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.log_lines = LogLines("fog", self.registry)
        self.tallies = Tallies()
        """Of windows by model, how long they took and in which batches they ran."""
        self.registry.register(self.tallies)
        self._denied = Counter(
            "fog_denied_calls",
            "Calls refused to a caller who may not make them",
            ["reason"],
            registry=self.registry,
        )
        for denial in Denial:
            self._denied.labels(denial.value)
        self.denied = cache(lambda denial: self._denied.labels(denial.value))
        self._refused = Counter(
            "fog_refused_windows",
            "Windows that were not run, by reason",
            ["reason"],
            registry=self.registry,
        )
        self._refused_streams = Counter(
            "fog_refused_streams",
            "Streams that were not opened, or ended for what their agent holds, by reason",
            ["reason"],
            registry=self.registry,
        )
        for cause in Cause:
            counter = self._refused_streams if cause in STREAM_CAUSES else self._refused
            counter.labels(cause.value)
        # Looking up a label costs as much as counting; the sets are small, so keep each child.
        self.refused = cache(lambda cause: self._refused.labels(cause.value))
        self.refused_streams = cache(lambda cause: self._refused_streams.labels(cause.value))

    def ended(self) -> int:
        """Return how many windows have run to an end, good or bad; those refused never ran."""
        return self.tallies.ended(Outcome.FAILED)

    def watch(self, admission: Admission, activity: Activity, levels: int = 1) -> None:
        """Export what runs, what waits at each priority level and what is connected now."""
        for name, help_text, value in (
            ("fog_requests_running", "Batches that run now", lambda: admission.running),
            ("fog_requests_queued", "Requests that wait now", lambda: admission.queued),
            ("fog_streams", "Streams open now", lambda: activity.streams),
        ):
            Gauge(name, help_text, registry=self.registry).set_function(value)

        self.registry.register(_WireBytes(activity))
        pending = Gauge(
            "fog_pending_requests",
            "Requests that wait now, by priority level",
            ["priority"],
            registry=self.registry,
        )
        for level in range(1, levels + 1):
            pending.labels(str(level)).set_function(partial(admission.waiting, level))

    def describe(self, store: BundleStore, provider: str) -> None:
        """Export which bundles are served, and on what."""
        self.registry.register(_Bundles(store))
        Info("fog_execution_provider", "What runs the tails", registry=self.registry).info(
            {"provider": provider}
        )


class _WireBytes(Collector):
    """The bytes of all messages so far."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    def collect(self) -> Iterator[Metric]:
        """Yield one counter."""
        counter = CounterMetricFamily("fog_wire_bytes", "Message bytes", labels=["direction"])
        for direction, count in zip(("in", "out"), self._activity.wire_bytes, strict=True):
            counter.add_metric([direction], count)
        yield counter


class _Bundles(Collector):
    """The bundles served when the page is asked for."""

    def __init__(self, store: BundleStore) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Yield one gauge."""
        labels = ["name", "version", "digest"]
        bundles = GaugeMetricFamily("fog_bundle_info", "Bundles served", labels=labels)
        for bundle in self._store.bundles:
            manifest = bundle.manifest
            bundles.add_metric([manifest.name, manifest.version, bundle.digest], 1)
        yield bundles
