"""Predicted energy and time: against published rows, and never negative, monotone, additive."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headtail.energy import (
    Compute,
    Transmission,
    idle_power_w,
    predict_compute,
    predict_cpu_j,
    predict_transmission,
)
from headtail.operations import Operations
from headtail.profile import (
    DeviceProfile,
    LinkProfile,
    list_device_profiles,
    list_link_profiles,
    read_device_profile,
    read_link_profile,
)

COUNT = st.integers(0, 10**9)
DEVICES = st.sampled_from([read_device_profile(n) for n in list_device_profiles()])
LINKS = st.sampled_from([read_link_profile(n) for n in list_link_profiles()])
OPERATIONS = st.builds(Operations, **dict.fromkeys(Operations.__struct_fields__, COUNT))
# MLPerf Tiny v1.0, STM32L4R5ZI: MACs by kind (they sum to the published total), ms, uJ.
MLPERF_TINY = {
    "AD": (Operations(dense_macs=264_192), 7.58, 323),
    "IC": (Operations(conv_macs=12_500_992, dense_macs=640), 226.9, 10_682),
    "KWS": (
        Operations(conv_macs=2_368_000, depthwise_macs=288_000, dense_macs=768),
        75.06,
        3_372,
    ),
    "VWW": (
        Operations(conv_macs=6_690_816, depthwise_macs=798_336, dense_macs=512),
        230.5,
        10_067,
    ),
}


@pytest.mark.parametrize(
    ("name", "macs"),
    [("AD", 264_192), ("IC", 12_501_632), ("KWS", 2_656_768), ("VWW", 7_489_664)],
)
def test_mlperf_tiny_macs_sum_to_the_published_total(name: str, macs: int) -> None:
    """The split by kind is counted from the published architectures."""
    assert macs == MLPERF_TINY[name][0].macs


@pytest.mark.parametrize("name", MLPERF_TINY)
def test_stm32l4r5_reproduces_mlperf_tiny(name: str) -> None:
    """Energy within 3.3 % and time within 4.9 % of each published row."""
    operations, ms, uj = MLPERF_TINY[name]
    cost = predict_compute(read_device_profile("stm32l4r5-int8"), operations)
    assert pytest.approx(uj * 1e-6, rel=0.033) == cost.joules
    assert pytest.approx(ms * 1e-3, rel=0.049) == cost.seconds


def test_paper_device_charges_stuffed_macs_weights_and_dense_macs() -> None:
    """26.47 nJ x MACz + 31.55 nJ x conv weights + 34.07 nJ x FC MACs, and no speed."""
    operations = Operations(
        conv_macs=1, conv_macz=1000, conv_parameters=100, dense_macs=10, dense_parameters=7
    )
    cost = predict_compute(read_device_profile("stm32l476-paper"), operations)
    assert Compute(None, pytest.approx(26_470e-9 + 3_155e-9 + 340.7e-9)) == cost


def test_cpu_time_is_charged_at_one_core_s_share() -> None:
    """One core of four for a second adds a quarter of what full load adds: (6.4 - 2.7) / 4."""
    model = read_device_profile("raspberry-pi-4").model
    assert pytest.approx(0.925) == predict_cpu_j(model, 1.0)


def test_cpu_device_charges_each_kind_and_one_run() -> None:
    """60 us for the run, then 0.5, 2 and 1 ns for each MAC."""
    operations = Operations(conv_macs=10_000, depthwise_macs=10_000, dense_macs=10_000)
    cost = predict_compute(read_device_profile("raspberry-pi-4"), operations)
    assert Compute(pytest.approx(95e-6), pytest.approx(0.925 * 95e-6)) == cost


@pytest.mark.parametrize(
    ("values", "printed_mj"),
    [
        (2, (0.001,)),
        (5, (0.003,)),
        (12, (0.008,)),
        (24, (0.015,)),
        (32, (0.020, 0.021)),
        (64, (0.041,)),
        (2048, (1.317,)),
    ],
)
def test_paper_link_reproduces_every_printed_point(
    values: int, printed_mj: tuple[float, ...]
) -> None:
    """The paper prints both 0.020 and 0.021 for 32 values, and 1.371 once for 2048."""
    cost = predict_transmission(read_link_profile("ble-paper"), 4 * values)
    assert round(cost.joules * 1e3, 3) in printed_mj
    assert Transmission(pytest.approx(values * 32e-6), pytest.approx(values * 0.6432e-6)) == cost


def test_paper_link_has_no_idle_power() -> None:
    """What the paper leaves out is a zero here, not a guess."""
    assert 0.0 == idle_power_w(read_link_profile("ble-paper"))


def test_packet_link_has_idle_power() -> None:
    """Keeping a 50 ms connection costs 221 uW."""
    assert 221 == round(idle_power_w(read_link_profile("ble-1m")) * 1e6)


def test_wifi_charges_both_radios_and_every_header() -> None:
    """1 kB: one packet of 1294 B; 159 us at 594 mW, the rest of 2.52 ms at 322 mW."""
    cost = predict_transmission(read_link_profile("wifi-esp32"), 1000)
    transmit_s, total_s = 1294 * 8 / 65e6, 2e-3 + 1294 * 8 / 20e6
    joules = 0.594 * transmit_s + 0.322 * (total_s - transmit_s)
    assert Transmission(pytest.approx(total_s), pytest.approx(joules)) == cost


@pytest.mark.parametrize("name", list_link_profiles())
def test_an_empty_message_is_not_sent(name: str) -> None:
    """Nothing crosses, nothing costs."""
    assert Transmission(0.0, 0.0) == predict_transmission(read_link_profile(name), 0)


@pytest.mark.parametrize("name", list_device_profiles())
def test_an_empty_head_costs_nothing(name: str) -> None:
    """At partition point 0 the edge computes nothing, not even a run."""
    assert 0.0 == predict_compute(read_device_profile(name), Operations()).joules


def test_negative_payload_is_refused() -> None:
    """A message cannot give energy back."""
    with pytest.raises(ValueError, match="at least 0, received -1"):
        predict_transmission(read_link_profile("ble-1m"), -1)


@given(device=DEVICES, operations=OPERATIONS, more=OPERATIONS)
def test_compute_is_monotone(
    device: DeviceProfile, operations: Operations, more: Operations
) -> None:
    """More operations never cost less energy or time, and nothing costs less than nothing."""
    less, greater = (predict_compute(device, o) for o in (operations, operations + more))
    assert 0 <= less.joules <= greater.joules
    if less.seconds is not None and greater.seconds is not None:
        assert 0 <= less.seconds <= greater.seconds


@given(device=DEVICES, operations=OPERATIONS, more=OPERATIONS)
def test_compute_is_additive_over_segments(
    device: DeviceProfile, operations: Operations, more: Operations
) -> None:
    """Two segments cost what they cost apart, less the run that a powered CPU saves."""
    apart = predict_compute(device, operations).joules + predict_compute(device, more).joules
    together = predict_compute(device, operations + more).joules
    run_time = getattr(device.model, "run_time", None)
    if run_time and Operations() not in (operations, more):
        apart -= predict_cpu_j(device.model, run_time.si)
    assert pytest.approx(apart, rel=1e-9) == together


@given(link=LINKS, payload_bytes=st.integers(0, 200_000), more=st.integers(0, 200_000))
def test_transmission_is_monotone(link: LinkProfile, payload_bytes: int, more: int) -> None:
    """More bytes never cost less energy or time, and nothing costs less than nothing."""
    less, greater = (predict_transmission(link, n) for n in (payload_bytes, payload_bytes + more))
    assert 0 <= less.joules <= greater.joules
    assert 0 <= less.seconds <= greater.seconds


@example(link=read_link_profile("ble-2m"), payload_bytes=8663)
@given(link=LINKS, payload_bytes=st.integers(1, 100_000))
def test_one_message_costs_no_more_than_two(link: LinkProfile, payload_bytes: int) -> None:
    """Sending windows together never costs more than sending them apart, but for one event.

    The last packet of each of two messages is short and may just fit a connection event; together
    they have one short packet, and what does not fit any more takes an event of its own.
    """
    apart = 2 * predict_transmission(link, payload_bytes).joules
    together = predict_transmission(link, 2 * payload_bytes).joules
    least = predict_transmission(link, 1).joules  # one event, and one packet in it
    assert together <= (apart + least) * (1 + 1e-12)


def test_predictions_follow_the_constants() -> None:
    """Twice the power is twice the energy; the unit it is written in changes nothing."""
    link = read_link_profile("ble-paper")
    power = msgspec.structs.replace(link.model.power, value=0.0402, unit="W")
    model = msgspec.structs.replace(link.model, power=power)
    doubled = msgspec.structs.replace(link, model=model)
    expected = 2 * predict_transmission(link, 128).joules
    assert pytest.approx(expected) == predict_transmission(doubled, 128).joules
