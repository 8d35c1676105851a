"""What became of updates, on the Prometheus page."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_agent.update.directive import ENDS, Stage
from edge_agent.update.shadow import Shadows
from edge_agent.update.shadow_queue import Outcome
from edge_agent.update.updater import Updater
from headtail.fault import Fault


class UpdateCollector(Collector):
    """Reads the updater whenever the page is read."""

    def __init__(self, updater: Updater, shadows: Shadows) -> None:
        """Read these."""
        self._updater = updater
        self._shadows = shadows

    def collect(self) -> Iterator[Metric]:
        """Yield every figure."""
        updater = self._updater
        ends = CounterMetricFamily(
            "edge_updates",
            "Updates of the bundle that came to an end, by how, and whose fault it was.",
            labels=["outcome", "fault"],
        )
        for stage in ENDS:
            for fault in Fault:
                if (stage is Stage.CONFIRMED) == (fault is Fault.NONE):
                    ends.add_metric([stage.value, fault.value], updater.counts[stage, fault])
        yield ends
        yield GaugeMetricFamily(
            "edge_update_trial",
            "1 while the first windows of a new bundle are watched.",
            value=float(updater.rotation.is_trial),
        )
        yield GaugeMetricFamily(
            "edge_update_seconds",
            "Time of the last update from its directive until it was ready to switch.",
            value=updater.update_s,
        )
        yield GaugeMetricFamily(
            "edge_update_switch_seconds",
            "Time for which the last switch held the windows up.",
            value=updater.rotation.switch_s,
        )
        windows = CounterMetricFamily(
            "edge_update_shadow_windows",
            "Windows that another bundle was to run too, by what became of it.",
            labels=["outcome"],
        )
        for outcome in Outcome:
            windows.add_metric([outcome.value], self._shadows.queue.counts[outcome])
        yield windows
        yield GaugeMetricFamily(
            "edge_update_shadow_loaded",
            "1 while another bundle is loaded to compare answers with.",
            value=float(self._shadows.is_loaded),
        )
