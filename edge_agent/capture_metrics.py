"""What became of the inputs that an agent drew for the fog's sample, on the Prometheus page."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_agent.capture import OUTCOMES, Capture


class CaptureCollector(Collector):
    """Reads the counts whenever the page is read."""

    def __init__(self, capture: Capture) -> None:
        """Read the counts of `capture`."""
        self._capture = capture

    def collect(self) -> Iterator[Metric]:
        """Yield both counters."""
        windows = CounterMetricFamily(
            "edge_captured_windows",
            "Inputs drawn for the fog's sample, by what became of them.",
            labels=["outcome"],
        )
        for outcome in OUTCOMES:
            windows.add_metric([outcome], self._capture.queue.windows[outcome])
        yield windows
        yield CounterMetricFamily(
            "edge_capture_tx_bytes",
            "Bytes of the messages that brought them; beside edge_tx_bytes_total.",
            value=self._capture.sent_bytes,
        )
