"""The spool's and the source's counters on the Prometheus page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_agent.sources.frame import FrameSource

if TYPE_CHECKING:  # SQLite is imported only where there is a spool
    from edge_agent.spool import Spool
    from edge_agent.spool_commit import Committer


class StorageCollector(Collector):
    """Reads the spool and the source whenever the page is read."""

    def __init__(
        self, source: FrameSource, spool: "Spool | None", committer: "Committer | None"
    ) -> None:
        """Read these; without a spool its figures are zero."""
        self._source = source
        self._spool = spool
        self._committer = committer

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        spool, committer = self._spool, self._committer
        yield GaugeMetricFamily(
            "edge_spool_windows",
            "Windows kept on disk until their results are in the sink.",
            value=spool.windows if spool else 0,
        )
        yield GaugeMetricFamily(
            "edge_spool_bytes", "Bytes of these windows.", value=spool.bytes if spool else 0
        )
        yield CounterMetricFamily(
            "edge_spool_dropped_windows",
            "Windows given up because the spool was full or they were too old.",
            value=committer.dropped if committer else 0,
        )
        yield CounterMetricFamily(
            "edge_source_skipped",
            "Items of the source that could not be read and were left out.",
            # Only a folder of images goes on after a bad one.
            value=getattr(self._source, "skipped", 0),
        )
