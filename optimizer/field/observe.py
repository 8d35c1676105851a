"""Asks Prometheus for an observation."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headtail.errors import DataError
from headtail.operations import Operations
from optimizer.field.observation import Observation, PointSeen, RoundTrips
from optimizer.field.prometheus import Prometheus, Sample, selector

ROUND_TRIP_QUANTILE = 0.25
"""Of the round trips: low, since what makes some of them longer is not the way."""
BUCKET_RATIO = 1.26
"""Of the ends of one of their histogram's buckets."""
MIN_ROUND_TRIPS = 3.0
MIN_COUNT = 1e-3
"""Below it nothing happened: what a counter rose by is extrapolated, and no whole number."""
NAMED_MODELS = 8
Key = tuple[int, str]
"""A partition point and an encoding."""
# A tail that ends on the edge is counted with those of the fog; so few spoil no mean.
MAX_EDGE_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class Question:
    """Whose windows, and of when."""

    model: str
    range_s: int
    matchers: Mapping[str, str]
    min_windows: int


def observe(prometheus: Prometheus, question: Question, at: str) -> Observation:
    """Ask for everything.

    Args:
        prometheus: Whom.
        question: About what.
        at: The moment of `prometheus` as text.

    Raises:
        DataError: If it cannot be asked, knows no such model, or too few windows of it.
    """
    asker = _Asker(prometheus, question)
    windows = asker.increases("edge_windows_total", "where")
    total = sum(sum(of.values()) for of in windows.values())
    _check_enough(prometheus, question, total, is_known=bool(windows))
    parts_s = asker.increases("edge_latency_seconds_sum", "part")
    counts = asker.increases("edge_latency_seconds_count", "part")
    sent_bytes = asker.increases("edge_tx_bytes_total")
    payloads = asker.sizes("edge_payload_bytes")
    lows_s = asker.mean_gauges("edge_network_low_seconds")
    operations = {part: asker.operations(f"edge_{part}_operations") for part in ("head", "tail")}
    fallbacks = asker.by_reason("edge_fallback_total")
    unsent = fallbacks.get("unavailable", 0.0)
    lost = sum(of.get("edge", 0.0) for of in windows.values() if of.get("fog"))
    points = []
    for key, of in sorted(windows.items()):
        number, from_fog = sum(of.values()), of.get("fog", 0.0)
        if number < MIN_COUNT:
            continue
        means = {
            part: parts_s[key].get(part, 0.0) / count
            for part, count in counts[key].items()
            if count > MIN_COUNT
        }
        # Windows that never left, because the link was down, are among those without an answer.
        never = unsent * (number - from_fog) / lost if lost and from_fog else 0.0
        left = max(from_fog, number - never)
        is_apart = from_fog >= (1 - MAX_EDGE_RATIO) * number
        points.append(
            PointSeen(
                point=key[0],
                encoding=key[1],
                windows=number,
                from_fog=from_fog,
                message_bytes=sent_bytes[key].get("", 0.0) / left if from_fog else None,
                payload_bytes=payloads.get(key),
                head_s=means.get("head"),
                network_s=means.get("network"),
                network_low_s=lows_s.get(key),
                queue_s=means.get("queue"),
                tail_s=means.get("tail") if is_apart else None,
                total_s=means.get("total"),
                head=operations["head"].get(key),
                tail=operations["tail"].get(key),
            )
        )
    return Observation(
        model=question.model,
        at=at,
        range_s=question.range_s,
        matchers=dict(question.matchers),
        points=tuple(points),
        round_trips=asker.round_trips(),
        fallbacks=fallbacks,
        losses=asker.by_reason("edge_link_losses_total"),
    )


class _Asker:
    """Puts a question to Prometheus in its own words."""

    def __init__(self, prometheus: Prometheus, question: Question) -> None:
        self._ask = prometheus.query
        self._window = f"[{question.range_s}s]"
        self._all = selector(question.matchers)
        self._model = selector({"model": question.model, **question.matchers})

    def increases(self, metric: str, label: str = "") -> dict[Key, dict[str, float]]:
        """Return by how much a counter rose, by point and the values of `label`."""
        by = ", ".join(filter(None, (label, "partition_point", "encoding")))
        found: defaultdict[Key, dict[str, float]] = defaultdict(dict)
        query = f"sum by ({by}) (increase({metric}{self._model}{self._window}))"
        for sample, key in _keyed(self._ask(query)):
            found[key][sample.labels.get(label, "")] = max(0.0, sample.value)
        return found

    def operations(self, metric: str) -> dict[Key, Operations]:
        """Return operation counts by point, of the points where all agents say the same."""
        ends = []
        for end in ("min", "max"):
            inner = f"{end}_over_time({metric}{self._model}{self._window})"
            query = f"{end} by (kind, partition_point, encoding) ({inner})"
            counts: defaultdict[Key, dict[str, int]] = defaultdict(dict)
            for sample, key in _keyed(self._ask(query)):
                counts[key][sample.labels.get("kind", "")] = int(sample.value)
            ends.append(counts)
        least, most = ends
        kinds = set(Operations.__struct_fields__)
        return {
            key: Operations(**of)
            for key, of in least.items()
            if of.keys() == kinds and of == most.get(key) and min(of.values()) >= 0
        }

    def sizes(self, metric: str) -> dict[Key, float]:
        """Return a gauge by point, of the points where all agents say the same."""
        least, most = (
            {
                key: sample.value
                for sample, key in _keyed(
                    self._ask(
                        f"{end} by (partition_point, encoding)"
                        f" ({end}_over_time({metric}{self._model}{self._window}))"
                    )
                )
            }
            for end in ("min", "max")
        )
        return {key: value for key, value in least.items() if most.get(key) == value}

    def mean_gauges(self, metric: str) -> dict[Key, float]:
        """Return the mean of a gauge by point, over time and agents."""
        inner = f"avg_over_time({metric}{self._model}{self._window})"
        found = self._ask(f"avg by (partition_point, encoding) ({inner})")
        return {key: sample.value for sample, key in _keyed(found)}

    def by_reason(self, metric: str) -> dict[str, float]:
        """Return by how much a counter rose, by its reasons; those that did not rise are left out.

        Such counters do not name a model.
        """
        query = f"sum by (reason) (increase({metric}{self._all}{self._window}))"
        found = {s.labels.get("reason", ""): s.value for s in self._ask(query)}
        return {reason: value for reason, value in sorted(found.items()) if value > 0}

    def round_trips(self) -> RoundTrips | None:
        """Return the round trips; None where there are too few."""
        rose = {
            part: f"increase(edge_round_trip_seconds_{part}{self._all}{self._window})"
            for part in ("bucket", "sum", "count")
        }
        quartile = f"histogram_quantile({ROUND_TRIP_QUANTILE}, sum by (le) ({rose['bucket']}))"
        asked = (quartile, f"sum({rose['sum']})", f"sum({rose['count']})")
        told = [samples[0].value for samples in map(self._ask, asked) if samples]
        if len(told) < len(asked) or told[-1] < MIN_ROUND_TRIPS:
            return None
        low_s, mean_s = told[0], told[1] / told[2]
        return RoundTrips(told[2], mean_s if mean_s <= BUCKET_RATIO * low_s else low_s)


def _keyed(samples: Sequence[Sample]) -> list[tuple[Sample, Key]]:
    """Return samples with their points; those of no point are left out."""
    keyed = []
    for sample in samples:
        point = sample.labels.get("partition_point", "")
        if point.isascii() and point.isdigit():
            keyed.append((sample, (int(point[:9]), sample.labels.get("encoding", ""))))
    return keyed


def _check_enough(
    prometheus: Prometheus, question: Question, total: float, *, is_known: bool
) -> None:
    where, within = f"Prometheus {prometheus.url}", f"in the last {question.range_s} s"
    if not is_known:
        seen = prometheus.query("group by (model) (edge_windows_total)")
        names = sorted({s.labels.get("model", "") for s in seen})
        shown = ", ".join(names[:NAMED_MODELS]) or "none"
        raise DataError(
            where,
            f"knows no windows of model '{question.model}' with these matchers {within};"
            f" models there: {shown}",
        )
    if total < question.min_windows:
        raise DataError(
            where,
            f"expected {question.min_windows} windows of model '{question.model}' {within},"
            f" received {total:.0f}",
        )
