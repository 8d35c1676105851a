"""What the capture of inputs exports to Prometheus."""

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge

from fog_server.capture.folder import Turn


class Fate(StrEnum):
    """What became of a window that was captured."""

    STORED = "stored"
    """It is in a shard."""
    REPLACED = "replaced"
    """It was in one, and others took its place."""
    EXPIRED = "expired"
    """It was in one until it was too old."""
    DROPPED = "dropped"
    """It was drawn, and too many waited to be written."""
    FAILED = "failed"
    """It was drawn, and could not be written."""
    REFUSED = "refused"
    """An agent sent what is not taken, or it was too large."""


class CaptureMetrics:
    """The capture's metrics; the label `model` is the name of a bundle that is served."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric."""
        self._windows = Counter(
            "fog_captured_windows",
            "Inputs drawn for the sample, by what became of them",
            ["model", "outcome"],
            registry=registry,
        )
        self._received = Counter(
            "fog_capture_received_bytes",
            "Bytes of inputs that agents sent for the sample alone",
            ["model"],
            registry=registry,
        )
        self._kept = Gauge(
            "fog_capture_windows", "Inputs in the sample", ["model"], registry=registry
        )
        self._bytes = Gauge(
            "fog_capture_bytes", "Bytes of the sample on the disk", ["model"], registry=registry
        )
        self.stopped = Gauge(
            "fog_capture_stopped",
            "1 while nothing is captured because nothing can be written",
            registry=registry,
        )

    def count(self, model: str, fate: Fate, windows: int = 1) -> None:
        """Count windows."""
        self._windows.labels(model, fate.value).inc(windows)

    def received(self, model: str, size_bytes: int) -> None:
        """Count bytes that an agent sent."""
        self._received.labels(model).inc(size_bytes)

    def turned(self, model: str, turn: Turn) -> None:
        """Take what a turn in a folder did."""
        self.count(model, Fate.STORED, turn.stored)
        self.count(model, Fate.REPLACED, turn.replaced)
        self.count(model, Fate.EXPIRED, turn.expired)
        self._kept.labels(model).set(turn.windows)
        self._bytes.labels(model).set(turn.size_bytes)
