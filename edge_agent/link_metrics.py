"""The link's counters on the Prometheus page."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_agent.breaker import State
from edge_agent.lanes import Lanes

COUNTERS = {
    "attempts": ("outcome", "Attempts to reach a fog, by outcome; beyond the first, retries."),
    "losses": ("reason", "Streams to a fog that were given up, by reason."),
    "switches": ("direction", "Changes of the fog in use: failover, or return to a better one."),
    "drops": ("reason", "Answers of a fog that were of no use: too late, or malformed."),
}
"""Of `LinkCounts`: each becomes `edge_link_NAME_total` with this label and this help."""


class LinkCollector(Collector):
    """Reads the link whenever the page is read, so that counting costs the link nothing."""

    def __init__(self, find: Callable[[], Lanes | None]) -> None:
        """Read the lanes that `find` returns, now or later."""
        self._find = find

    def collect(self) -> Iterator[Metric]:
        """Yield every counter with every reason, and how each fog stands; nothing without lanes."""
        lanes = self._find()
        if lanes is None:
            return
        for name, (label, text) in COUNTERS.items():
            yield _counter(f"edge_link_{name}", text, label, getattr(lanes.counts, name))
        active = lanes.active
        used = GaugeMetricFamily(
            "edge_fog_in_use", "1 for the fog in use, by place in the list.", labels=["fog"]
        )
        state = GaugeMetricFamily(
            "edge_breaker_state",
            "1 for the state of a fog's circuit breaker, by place in the list.",
            labels=["fog", "state"],
        )
        for fog in lanes.fogs:
            place = str(fog.rank + 1)
            used.add_metric([place], float(active is not None and active.fog is fog))
            for one in State:
                state.add_metric([place, one.value], float(fog.breaker.state is one))
        yield used
        yield state


def _counter(name: str, text: str, label: str, amounts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for reason, amount in amounts.items():
        family.add_metric([reason], amount)
    return family
