"""The predictor against the same sums made option by option."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.meter import NoMeter, ProfileMeter
from edge_agent.partition.offer import Option
from edge_agent.partition.predict import FRAMING_BYTES, Estimates, Predictor
from headtail.constant import Constant
from headtail.energy import predict_cpu_j, predict_transmission

ESTIMATES = st.builds(
    Estimates,
    st.floats(0, 1),
    st.floats(1e-9, 1e-3),
    st.floats(0, 0.1),
    st.floats(0.5, 5),
    st.floats(0.01, 3),
    st.floats(0, 0.01),
    st.floats(0, 1),
    st.one_of(st.just(float("inf")), st.floats(1e-3, 1)),
    st.integers(1, 64),
)


def latency_s(option: Option, e: Estimates) -> float:
    """Return what an option takes, by the definition."""
    head_s, encode_s = option.head_s * e.head_ratio, option.encode_s * e.head_ratio
    if option.plan.is_local:
        latency, busiest = head_s, head_s
    else:
        moving_s = 8 * (option.message_bytes + FRAMING_BYTES) * e.seconds_per_bit
        tail_s = option.tail_s * e.tail_ratio
        latency = head_s + encode_s + e.round_trip_s + moving_s + e.queue_s + tail_s + e.overhead_s
        latency += option.inflate_s
        latency += e.failed_ratio * option.tail_s * e.head_ratio
        busiest = max(head_s + encode_s, moving_s, tail_s)
    return max(latency, e.room * busiest) if busiest >= e.interval_s and e.room > 1 else latency


def energy_j(option: Option, e: Estimates, meter: ProfileMeter) -> float:
    """Return what an option costs the edge, by the profiles."""
    again_s = 0.0 if option.plan.is_local else e.failed_ratio * option.tail_s
    joules = predict_cpu_j(meter.device.model, (option.head_s + again_s) * e.head_ratio)
    if option.plan.is_local:
        return joules
    radio = meter.link.model
    rate = min(1 / e.seconds_per_bit, radio.phy_rate.si)
    seen = Constant(value=rate, unit="bit/s", kind="measured", source="test")
    link = msgspec.structs.replace(
        meter.link, model=msgspec.structs.replace(radio, throughput=seen)
    )
    payload = option.plan.payload_bytes
    if option.plan.compression:
        payload = min(payload, option.message_bytes)
    return joules + predict_transmission(link, payload).joules


@given(estimates=ESTIMATES)
def test_all_options_at_once_are_what_each_is_alone(options, meter, estimates: Estimates) -> None:
    costs = Predictor(options, meter).predict(estimates)
    assert [latency_s(o, estimates) for o in options] == pytest.approx(costs.latency_s)
    expected = [energy_j(o, estimates, meter) for o in options]
    assert expected == pytest.approx(costs.energy_j, rel=1e-6)


def test_known_tails_take_the_place_of_the_ratio(options, meter) -> None:
    predictor, estimates = Predictor(options, meter), Estimates(0.01, 1e-6, tail_ratio=7.0)
    tails = np.full(len(options), 0.5)
    latency = predictor.predict(estimates, tails).latency_s
    plain = predictor.predict(Estimates(0.01, 1e-6, tail_ratio=0.0)).latency_s
    assert [0.0 if o.plan.is_local else 0.5 for o in options] == pytest.approx(latency - plain)


def test_without_profiles_energy_is_unknown(options) -> None:
    costs = Predictor(options, NoMeter()).predict(Estimates(0.01, 1e-6))
    assert all(math.isnan(j) for j in costs.energy_j)
    assert np.isfinite(costs.latency_s).all()
