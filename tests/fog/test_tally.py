"""Our counts against Prometheus' own: the same page for the same windows."""

import collections
import random

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fog_server.tally import BATCH_BUCKETS, Tallies
from headtail.metrics import LATENCY_BUCKETS_S


def page(registry: CollectorRegistry) -> dict[tuple[str, str, str], dict[object, float]]:
    """Return what a registry shows, but for when its series began."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (metric.name, metric.type, metric.documentation): {
            (sample.name, *sorted(sample.labels.items())): round(sample.value, 9)
            for sample in metric.samples
        }
        for metric in families
        if not metric.name.endswith("_created")
    }


def test_page_is_that_of_counters_and_histograms():
    """Bounds belong to their bucket; what is beyond all of them is in the last."""
    rng, tallies = random.Random(7), Tallies()
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    ours.register(tallies)
    text = "Time of a request, by stage: queue (waiting for a slot) or compute (running the tail)"
    duration = Histogram(
        "fog_request_duration_seconds", text, ["model", "stage"],
        buckets=LATENCY_BUCKETS_S, registry=theirs,
    )  # fmt: skip
    windows = Counter("fog_windows", "Windows by outcome", ["model", "outcome"], registry=theirs)
    text = "Windows of the batches run, one agent's or several agents' together"
    batches = Histogram(
        "fog_batch_windows", text, ["model"], buckets=BATCH_BUCKETS, registry=theirs
    )
    bounds_ns = [round(1e9 * bound_s) for bound_s in LATENCY_BUCKETS_S]
    for _ in range(500):
        model, size = rng.choice("ab"), rng.choice([1, 2, 3, 256, 300])
        times = [rng.choice([*bounds_ns, rng.randrange(2 * 10**10)]) for _ in range(2)]
        tally = tallies.of(model)
        with tallies.lock:
            tally.took(size, *times)
            tally.batches[size] += 1
        for stage, time_ns in zip(("queue", "compute"), times, strict=True):
            duration.labels(model, stage).observe(time_ns / 1e9)
        batches.labels(model).observe(size)
        windows.labels(model, "ok").inc(size)
        outcome = rng.choice(["failed", "invalid"])
        tallies.count(model, outcome, size)
        windows.labels(model, outcome).inc(size)
    assert page(theirs) == page(ours)


def test_model_that_only_refused_has_no_times():
    tallies, registry = Tallies(), CollectorRegistry()
    registry.register(tallies)
    tallies.count("m", "invalid")
    value = registry.get_sample_value
    assert 1 == value("fog_windows_total", {"model": "m", "outcome": "invalid"})
    labels = {"model": "m", "stage": "queue"}
    assert value("fog_request_duration_seconds_count", labels) is None
    with tallies.lock:
        tallies.of("n").took(3, 0, 0)
    assert (4, 3) == (tallies.ended("invalid"), tallies.ended("failed"))


class Growing(collections.Counter):
    """Outcomes; while they are looked at, windows of another model come."""

    def __init__(self, tallies: Tallies) -> None:
        super().__init__()
        self._tallies = tallies

    def items(self):
        """Return the outcomes."""
        self._tallies.of("new")
        return super().items()

    def __getitem__(self, outcome: str) -> int:
        self._tallies.of("newer")
        return super().get(outcome, 0)


@pytest.mark.parametrize("look", [generate_latest, lambda registry: registry.tallies.ended("ok")])
def test_page_may_be_read_while_a_model_is_asked_for_the_first_time(look):
    """The thread that meets the model waits for no page."""
    tallies, registry = Tallies(), CollectorRegistry()
    registry.register(tallies)
    registry.tallies = tallies
    tallies.of("old").outcomes = Growing(tallies)
    look(registry)
