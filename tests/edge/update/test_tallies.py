"""What is reported of each bundle."""

import pytest
from msgspec.structs import replace

from edge_agent.result import Result
from edge_agent.update.tallies import BOUNDS_S, Tallies

ONE = Result(
    sequence=0, sample=0, label="n", output=[1.0, 0.0], where="fog", partition_point=1,
    encoding="float32", latency_s=0.004, head_s=0.001, tail_s=0.001, network_s=0.001, queue_s=0.0,
    tx_bytes=10, compute_j=2e-6, tx_j=3e-6, bundle="a",
)  # fmt: skip


def test_windows_are_counted_under_the_bundle_that_answered():
    tallies = Tallies()
    tallies.take([ONE, replace(ONE, bundle="b"), replace(ONE, fallback="unavailable")])
    tallies.take([replace(ONE, fallback="failed", compute_j=None, tx_j=None)])
    tallies.failed("b", 4)
    a, b = tallies.read()["a"], tallies.read()["b"]
    assert (3, 1, 2) == (a.windows, a.failed, a.fallback)
    assert (1, 4, 0) == (b.windows, b.failed, b.fallback)
    assert pytest.approx((1e-5, 0.012)) == (a.energy_j, a.latency_s)


def test_each_latency_lies_under_the_first_bound_that_it_does_not_pass():
    tallies = Tallies()
    tallies.take([replace(ONE, latency_s=s) for s in (0.0, 0.001, 0.0011, 10.0, 11.0)])
    counts = tallies.read()["a"].latency_counts
    assert [2, 1, *[0] * (len(BOUNDS_S) - 3), 1, 1] == counts


def test_what_was_read_does_not_change():
    tallies = Tallies()
    tallies.take([ONE])
    before = tallies.read()["a"]
    tallies.take([ONE])
    assert (1, 1) == (before.windows, sum(before.latency_counts))
