"""The agent's metrics, by name, label and amount."""

import itertools
import random
import time

import pytest
from prometheus_client import generate_latest

from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.lanes import Policy
from edge_agent.link import FogLink
from edge_agent.link_counts import LOSSES
from edge_agent.meter import open_meter
from edge_agent.metrics import Metrics
from edge_agent.plan import choose_plan
from edge_agent.result import Result
from headtail.bundle import read_bundle


@pytest.fixture
def priced(priced_path, trust):
    """Return a bundle that names profiles."""
    return read_bundle(priced_path, trust)


def result(where: str, fallback: str | None, **changes: float | None) -> Result:
    """Return a result of 10 ms."""
    values = {
        "sequence": 0, "sample": 0, "label": "n", "output": [1.0], "where": where,
        "partition_point": 1, "encoding": "int8", "latency_s": 0.010, "head_s": 0.002,
        "tail_s": 0.003, "network_s": 0.004, "queue_s": 0.001, "tx_bytes": 100,
        "compute_j": 3e-6, "tx_j": 5e-6, "fallback": fallback,
    }  # fmt: skip
    return Result(**{**values, **changes})


def idle_link() -> FogLink:
    """Return a link to two fogs that was never started."""
    tail = Tail("t", "1", (), "b", "d")
    clients = [FogClient(fog, tail, 1.0) for fog in ("a:1", "b:2")]
    return FogLink(clients, None, Policy(), random.Random(1), time.monotonic)


def page(bundle, results, link: FogLink | None = None) -> dict[str, float]:
    """Return every sample of the page after some results."""
    plan = choose_plan(bundle.manifest, "1", "int8")
    metrics = Metrics(plan, bundle.digest, open_meter(bundle.manifest, "", ""))
    watched = link or idle_link()
    metrics.watch(lambda: watched)
    metrics.take(results)
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if not line.startswith("#")
    }


POINT = 'encoding="int8",model="priced",partition_point="1"'


def test_windows_bytes_and_latency_by_part(priced):
    samples = page(
        priced,
        [
            result("fog", None),
            result("fog", None),
            result("edge", "deadline", network_s=None, queue_s=None),
        ],
    )
    assert 2 == samples[f'edge_windows_total{{{POINT},where="fog"}}']
    assert 1 == samples[f'edge_windows_total{{{POINT},where="edge"}}']
    assert 300 == samples[f"edge_tx_bytes_total{{{POINT}}}"]
    assert 1 == samples['edge_fallback_total{reason="deadline"}']
    assert 0 == samples['edge_fallback_total{reason="overloaded"}']
    for part, count, seconds in (("head", 3, 0.006), ("network", 2, 0.008), ("total", 3, 0.03)):
        labels = f'{{encoding="int8",model="priced",part="{part}",partition_point="1"}}'
        assert count == samples[f"edge_latency_seconds_count{labels}"]
        assert pytest.approx(seconds) == samples[f"edge_latency_seconds_sum{labels}"]
    assert 0 == samples["edge_fog_up"]


def test_energy_says_that_it_is_modelled_and_how(priced):
    samples = page(priced, [result("fog", None)] * 2)
    labels = 'component="{}",mode="paper",modelled="true",profile="{}"'
    compute = labels.format("compute", "stm32l476-paper")
    sending = labels.format("tx", "ble-paper")
    assert pytest.approx(6e-6) == samples[f"edge_energy_joules_total{{{compute}}}"]
    assert pytest.approx(1e-5) == samples[f"edge_energy_joules_total{{{sending}}}"]


def test_info_names_the_bundle(priced):
    labels = f'digest="{priced.digest}",name="priced",version="1.0.0"'
    assert 1 == page(priced, [])[f"edge_bundle_info{{{labels}}}"]


def test_bundle_without_profiles_exports_no_energy(bundle):
    samples = page(bundle, [result("edge", None, compute_j=None, tx_j=None)])
    assert [] == [name for name in samples if name.startswith("edge_energy")]


def test_link_is_counted_by_reason_and_fog(priced):
    link = idle_link()
    link.lanes.counts.losses["silent"] += 2
    first, _ = link.lanes.fogs
    first.breaker.trip(0.0)
    samples = page(priced, [], link)
    assert 2 == samples['edge_link_losses_total{reason="silent"}']
    assert [0, 0] == [samples[f'edge_fog_in_use{{fog="{place}"}}'] for place in (1, 2)]
    assert 1 == samples['edge_breaker_state{fog="1",state="open"}']
    assert 1 == samples['edge_breaker_state{fog="2",state="closed"}']
    assert set(LOSSES) == {
        name.split('"')[1] for name in samples if name.startswith("edge_link_losses_total")
    }


def test_confidence_is_that_of_the_class_given(priced):
    """Results of one value have none."""
    counted = page(
        priced,
        [
            result("fog", None, output=[0.1, 0.65, 0.25]),
            result("edge", None, output=[0.85, 0.15, 0.0]),
            result("fog", None, output=[1.0]),
        ],
    )
    assert 2 == counted['edge_confidence_ratio_count{model="priced"}']
    assert 1.5 == pytest.approx(counted['edge_confidence_ratio_sum{model="priced"}'])
    assert 1 == counted['edge_confidence_ratio_bucket{le="0.7",model="priced"}']


def test_operations_of_head_and_tail_by_kind(priced):
    """The fixture's segments: 1000, 200 and 30 MACs with nine weights each; one in the head."""
    samples = page(priced, [])
    for part, macs, parameters in (("head", 1000, 9), ("tail", 230, 18)):
        for kind, expected in (
            ("conv_macs", macs),
            ("conv_macz", macs),
            ("conv_parameters", parameters),
            ("dense_macs", 0),
        ):
            labels = f'encoding="int8",kind="{kind}",model="priced",partition_point="1"'
            assert expected == samples[f"edge_{part}_operations{{{labels}}}"]


def test_low_network_time_is_of_the_latest_windows_that_came_back(priced):
    """Of 9 ms once, then 1 to 32 ms: the ninth of the latter; none before a window came back."""
    name = f"edge_network_low_seconds{{{POINT}}}"
    assert name not in page(priced, [result("edge", "deadline", network_s=None)])
    times_s = (0.009, *(1e-3 * n for n in range(32, 0, -1)))
    counted = page(priced, [result("fog", None, network_s=s) for s in times_s])
    assert pytest.approx(0.009) == counted[name]
    assert pytest.approx(0.004) == page(priced, [result("fog", None)])[name]


def test_payload_is_that_of_the_wire(priced):
    """int8 of the four times eight values that cross point 1."""
    assert 32 == page(priced, [])[f"edge_payload_bytes{{{POINT}}}"]


def test_round_trips_are_known_to_a_quarter(priced):
    """Where updates are on; otherwise nobody calls and there is no such metric."""
    assert not any(name.startswith("edge_round_trip") for name in page(priced, []))
    plan = choose_plan(priced.manifest, "1", "int8")
    metrics = Metrics(plan, priced.digest, open_meter(priced.manifest, "", ""))
    observe = metrics.watch_round_trips()
    observe(0.101)
    families = {f.name: f for f in metrics.registry.collect()}
    samples = {
        s.labels["le"]: s.value
        for s in families["edge_round_trip_seconds"].samples
        if "le" in s.labels
    }
    bounds = [float(bound) for bound in samples]
    assert all(1.2 < b / a < 1.3 for a, b in itertools.pairwise(bounds[:-1]))
    assert (0, 1) == (samples["0.1"], samples["0.125"])
