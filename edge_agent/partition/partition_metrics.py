"""The choice of plans on the Prometheus page: what is chosen, estimated and predicted."""

from collections.abc import Callable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edge_agent.partition.live import LivePartition


class PartitionCollector(Collector):
    """Reads the choice whenever the page is read."""

    def __init__(self, find: Callable[[], LivePartition | None]) -> None:
        """Read what `find` returns, now or later."""
        self._find = find

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; nothing where the partition point is fixed."""
        live = self._find()
        if live is None:
            return
        plan, estimates = live.plan, live.state().estimates
        chosen = {
            "partition_point": str(plan.point.index),
            "encoding": plan.encoding.value,
            "compression": plan.compression or "none",
        }
        yield InfoMetricFamily("edge_partition", "The plan in use.", value=chosen)
        for name, text, value in (
            ("edge_uplink_bytes_per_second", "Estimated rate of the uplink.",
             1.0 / (8.0 * estimates.seconds_per_bit)),
            ("edge_uplink_round_trip_seconds", "Estimated time of a message without bytes.",
             estimates.round_trip_s),
            ("edge_uplink_noise_ratio", "Standard deviation of a message's time, as a share of it.",
             live.uplink.estimate.noise),
            ("edge_fog_queue_seconds", "Estimated wait in the fog.", estimates.queue_s),
            ("edge_head_ratio", "Time of heads over that when the bundle was loaded.",
             estimates.head_ratio),
            ("edge_tail_ratio", "The fog's time for tails over this device's.",
             estimates.tail_ratio),
        ):  # fmt: skip
            yield GaugeMetricFamily(name, text, value=value)
        family = CounterMetricFamily(
            "edge_partition_switches", "Changes of plan, by what they followed.", labels=["reason"]
        )
        for reason, count in live.switches.items():
            family.add_metric([reason], count)
        yield family
        yield CounterMetricFamily(
            "edge_partition_probes", "Empty calls to the fog that were answered.",
            value=live.probing.made,
        )  # fmt: skip
