"""Our own counters and histograms beside those of prometheus_client."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open

from edge_agent.accumulators import Spreads, Totals

BOUNDS = (0.001, 0.5, 1.0, 2.5, 10.0)
ANY_LABEL = st.sampled_from(["a", "b c", 'quote"\\'])


def text(registry: CollectorRegistry, write=generate_latest) -> str:
    """Return a page without the moments of creation."""
    return re.sub(r"(?m)^(.*_created.* )\S+$", r"\1now", write(registry).decode())


@pytest.mark.parametrize("write", [generate_latest, generate_open], ids=["text", "openmetrics"])
@given(amounts=st.lists(st.tuples(ANY_LABEL, st.floats(0, 1e9))))
def test_page_of_counters_is_that_of_the_library(write, amounts):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    totals = Totals("some_bytes", "Some text.", ("kind",), ours)
    counter = Counter("some_bytes_total", "Some text.", ("kind",), registry=theirs)
    for label, amount in amounts:
        totals.of(label).value += amount
        counter.labels(label).inc(amount)
    assert text(theirs, write) == text(ours, write)


@pytest.mark.parametrize("write", [generate_latest, generate_open], ids=["text", "openmetrics"])
@given(values=st.lists(st.tuples(ANY_LABEL, st.sampled_from(BOUNDS) | st.floats(0, 100))))
def test_page_of_histograms_is_that_of_the_library(write, values):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spreads = Spreads("some_seconds", "Some text.", ("part",), BOUNDS, ours)
    histogram = Histogram("some_seconds", "Some text.", ("part",), buckets=BOUNDS, registry=theirs)
    for label, value in values:
        spreads.of(label).observe(value)
        histogram.labels(label).observe(value)
    assert text(theirs, write) == text(ours, write)


def test_page_without_labels_is_that_of_the_library():
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Spreads("some_ratio", "Some text.", (), BOUNDS, ours).of().observe(0.7)
    Histogram("some_ratio", "Some text.", buckets=BOUNDS, registry=theirs).observe(0.7)
    assert text(theirs) == text(ours)
