"""One page out of several: sums, largest values, labels of processes, and totals of the dead."""

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fog_server.workers.merge import SUMMED_GAUGES, Pages


class Worker:
    """A registry with one metric of each kind, as a fog's page has them."""

    def __init__(self) -> None:
        """Register them."""
        self.registry = registry = CollectorRegistry()
        self.windows = Counter("fog_windows", "Windows", ["model"], registry=registry)
        self.duration = Histogram("fog_s", "Time", buckets=(0.1, 1.0), registry=registry)
        self.streams = Gauge("fog_streams", "Streams", registry=registry)
        self.generation = Gauge("fog_rollout_generation", "Changes", ["model"], registry=registry)
        self.changes = Counter("fog_rollout_changes", "Changes", ["action"], registry=registry)
        self.cpu = Counter("process_cpu_seconds", "CPU", registry=registry)

    def page(self) -> str:
        """Return its page."""
        return generate_latest(self.registry).decode()


def shown(pages: Pages) -> dict[str, float]:
    """Return the samples of the merged page, written out and read again as Prometheus does."""
    registry = CollectorRegistry()
    registry.register(pages)
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_counters_and_histograms_are_summed_by_label():
    first, second, pages = Worker(), Worker(), Pages(CollectorRegistry())
    first.windows.labels("a").inc(3)
    second.windows.labels("a").inc(4)
    second.windows.labels("b").inc(5)
    for seconds in (0.05, 0.5):
        first.duration.observe(seconds)
    second.duration.observe(2.0)
    pages.put(0, first.page())
    pages.put(1, second.page())
    page = shown(pages)
    assert (7, 5) == (page["fog_windows_total model=a"], page["fog_windows_total model=b"])
    assert [1, 2, 3] == [page[f"fog_s_bucket le={le}"] for le in ("0.1", "1.0", "+Inf")]
    assert (3, 2.55) == (page["fog_s_count"], page["fog_s_sum"])
    assert not [name for name in page if "_created" in name]


def test_gauges_are_summed_where_each_worker_has_its_part_and_else_the_largest():
    first, second, pages = Worker(), Worker(), Pages(CollectorRegistry())
    for worker, streams, generation in ((first, 2, 7), (second, 3, 6)):
        worker.streams.set(streams)
        worker.generation.labels("a").set(generation)
        pages.put(0 if worker is first else 1, worker.page())
    page = shown(pages)
    assert (5, 7) == (page["fog_streams"], page["fog_rollout_generation model=a"])
    assert 5 == pages.total("fog_streams")
    pages.ended(1)
    assert 2 == shown(pages)["fog_streams"]


def test_processes_stay_apart_and_the_parents_own_metrics_join():
    own = CollectorRegistry()
    Counter("process_cpu_seconds", "CPU", registry=own).inc(1)
    Counter("fog_worker_restarts", "Restarts", registry=own).inc(9)
    worker, pages = Worker(), Pages(own)
    worker.cpu.inc(2)
    pages.put(0, worker.page())
    page = shown(pages)
    cpu = "process_cpu_seconds_total worker="
    assert (1, 2, 9) == (page[f"{cpu}parent"], page[f"{cpu}0"], page["fog_worker_restarts_total"])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans()), max_size=30))
def test_what_was_counted_is_the_sum_over_all_workers_that_ever_were(steps):
    """Against one number that is counted along; it never goes back."""
    workers, pages, counted = {}, Pages(CollectorRegistry()), 0
    for number, more, is_ended in steps:
        worker = workers.setdefault(number, Worker())
        worker.windows.labels("a").inc(more)
        worker.cpu.inc(more)
        counted += more
        pages.put(number, worker.page())
        if is_ended:
            pages.ended(number)
            del workers[number]
        page = shown(pages)
        assert counted == page["fog_windows_total model=a"]
        cpu = [v for name, v in page.items() if name.startswith("process_cpu_seconds_total")]
        assert counted == sum(cpu)


def test_a_change_that_every_worker_sees_counts_once():
    """Also where one sees it later, and where one began after others had seen some."""
    first, second, pages = Worker(), Worker(), Pages(CollectorRegistry())
    name = "fog_rollout_changes_total action=publish"
    pages.put(0, first.page())
    pages.put(1, second.page())
    for worker, seen, total in ((first, 1, 1), (second, 1, 1), (second, 2, 3), (first, 2, 3)):
        worker.changes.labels("publish").inc(seen)
        pages.put(0 if worker is first else 1, worker.page())
        assert total == shown(pages)[name]
    pages.ended(0)
    assert 3 == shown(pages)[name]
    third = Worker()
    third.changes.labels("publish").inc(0)
    pages.put(0, third.page())
    third.changes.labels("publish").inc()
    pages.put(0, third.page())
    second.changes.labels("publish").inc()
    pages.put(1, second.page())
    assert 4 == shown(pages)[name]


def test_every_gauge_of_a_fog_is_one_that_is_known_how_to_merge(fog):
    """A new gauge has to be put on one side or the other."""
    shared = {
        "fog_bundle_info", "fog_execution_provider_info", "fog_capture_stopped",
        "fog_capture_windows", "fog_capture_bytes", "fog_rollout_bundles",
        "fog_rollout_generation", "fog_rollout_canary_ratio", "fog_rollout_agents",
        "fog_rollout_canary_windows",
    }  # fmt: skip
    gauges = {
        metric.name + "_info" * (metric.type == "info")
        for metric in fog.metrics.registry.collect()
        if metric.type in ("gauge", "info") and not metric.name.startswith("process_")
    }
    assert gauges <= shared | SUMMED_GAUGES
