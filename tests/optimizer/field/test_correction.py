"""Corrected profiles: by hand, and recovered from what known constants would have shown."""

import math
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.energy import predict_compute, predict_transmission
from headtail.operations import Operations
from headtail.profile import read_device_profile, read_link_profile
from optimizer.field.correction import correct_device, correct_link, fog_time, weighted_median
from optimizer.field.link_fit import Way, fit_line, message_bits
from optimizer.field.observation import Observation, PointSeen, RoundTrips

PI, ETHERNET = read_device_profile("raspberry-pi-5"), read_link_profile("ethernet")
PAPER_DEVICE, PAPER_LINK = read_device_profile("stm32l476-paper"), read_link_profile("ble-paper")
# On a Pi 5 as shipped: 25 us of a run and 0.15 ns a MAC make 175 us.
HEAD, TAIL = Operations(conv_macs=1_000_000), Operations(dense_macs=250_000)


def point(index: int = 1, **changes: object) -> PointSeen:
    """Return a hundred windows, all answered by the fog."""
    values = {
        "point": index, "encoding": "int8", "windows": 100.0, "from_fog": 100.0,
        "message_bytes": 1000.0, "payload_bytes": 800.0, "head_s": 350e-6, "network_s": 0.1,
        "network_low_s": None, "queue_s": 0.001, "tail_s": 0.004, "total_s": 0.11,
        "head": HEAD, "tail": TAIL,
    }  # fmt: skip
    return PointSeen(**{**values, **changes})


def seen(*points: PointSeen, trips: RoundTrips | None = None) -> Observation:
    """Return an observation of an hour."""
    return Observation("ecg", "2026-01-01T00:00:00Z", 3600, {}, points, trips, {}, {})


def network(delay_s: float, throughput: float, message_bytes: Sequence[float]) -> list[PointSeen]:
    """Return points whose messages took what a link with these constants takes."""
    return [
        point(
            i,
            message_bytes=size,
            network_s=delay_s + message_bits(ETHERNET.model, size) / throughput,
        )
        for i, size in enumerate(message_bytes)
    ]


def test_heads_that_take_twice_as_long_double_every_time() -> None:
    """And the energy with them, which is that of the time; nothing else changes."""
    corrected, changes, kept = correct_device(PI, seen(point()))
    assert ("raspberry-pi-5-field", ()) == (corrected.name, kept)
    assert [("conv_time", 0.15, 0.3), ("run_time", 25.0, 50.0)] == [
        (c.constant, c.before, c.after) for c in changes if c.constant in ("conv_time", "run_time")
    ]
    assert {"conv_time", "depthwise_time", "dense_time", "run_time"} == {
        c.constant for c in changes
    }
    before, after = predict_compute(PI, HEAD), predict_compute(corrected, HEAD)
    assert (pytest.approx(2.0), pytest.approx(2.0)) == (
        after.seconds / before.seconds, after.joules / before.joules,
    )  # fmt: skip
    assert PI.model.full_power == corrected.model.full_power


def test_ratio_is_the_median_of_windows_not_of_points() -> None:
    """The busy point decides; points with no head, or of an unknown one, say nothing."""
    corrected, changes, _ = correct_device(
        PI,
        seen(
            point(1, head_s=3 * 175e-6, windows=1000.0),
            point(2, head_s=50 * 175e-6, windows=10.0),
            point(3, head_s=60 * 175e-6, windows=20.0),
            point(0, head=Operations(), head_s=1e-6, windows=1e6),
            point(4, head=None, windows=1e6),
        ),
    )
    assert pytest.approx(75.0) == corrected.model.run_time.value
    assert "3 points and encodings, 1030 windows" in changes[0].source
    assert "by point 3 to 60 times" in changes[0].source


def test_device_of_which_nothing_is_told_stays() -> None:
    for device, points, reason in (
        (PI, [point(0, head=Operations())], "no agent computed anything"),
        (PAPER_DEVICE, [point()], "has no times"),
    ):
        corrected, changes, (said,) = correct_device(device, seen(*points))
        assert (device, ()) == (corrected, changes)
        assert reason in said


def test_round_trip_is_the_delay_and_the_rest_the_bits() -> None:
    """1000 B and one packet's 90 B of headers: 8720 bits in 60 ms are 145.3 kbit/s."""
    corrected, changes, kept = correct_link(ETHERNET, seen(point(), trips=RoundTrips(50.0, 0.04)))
    assert (40_000.0, 0.1453, ()) == (
        corrected.model.delay.value, corrected.model.throughput.value, kept,
    )  # fmt: skip
    assert ["us", "Mbit/s", "B"] == [c.unit for c in changes]
    sent = predict_transmission(corrected, 800)
    assert pytest.approx(0.1, rel=1e-3) == sent.seconds


def test_what_messages_wait_on_the_mean_is_delay_and_no_throughput() -> None:
    """Unhindered 80 ms, 40 of them a round trip: the bits take the other 40, whatever the mean."""
    trips = RoundTrips(50.0, 0.04)
    busy = seen(point(network_low_s=0.08, network_s=0.1), trips=trips)
    corrected = correct_link(ETHERNET, busy).profile
    assert 8720 / 0.04 == pytest.approx(corrected.model.throughput.si, rel=1e-3)
    assert 0.06 == pytest.approx(corrected.model.delay.si, rel=1e-3)
    assert 0.1 == pytest.approx(predict_transmission(corrected, 800).seconds, rel=1e-3)
    several = [
        msgspec.structs.replace(p, network_low_s=p.network_s, network_s=p.network_s + 0.02)
        for p in network(0.04, 1e5, (1000.0, 4000.0))
    ]
    fitted = correct_link(ETHERNET, seen(*several)).profile.model
    assert (0.06, 1e5) == (
        pytest.approx(fitted.delay.si, rel=1e-3), pytest.approx(fitted.throughput.si, rel=1e-3),
    )  # fmt: skip


def test_framing_is_what_a_message_has_beside_its_payload() -> None:
    """The profile's 200 B where agents do not tell the payload; the busy point decides."""
    points = (
        point(1, message_bytes=1000.0, payload_bytes=870.0),
        point(2, message_bytes=1000.0, payload_bytes=900.0, from_fog=1.0),
        point(3, payload_bytes=None, from_fog=1e6),
    )
    assert 130.0 == correct_link(ETHERNET, seen(*points)).profile.model.message_overhead.value
    unknown = correct_link(ETHERNET, seen(point(payload_bytes=None))).profile
    assert ETHERNET.model.message_overhead == unknown.model.message_overhead


def test_bits_that_take_next_to_nothing_leave_the_throughput() -> None:
    """A round trip is known to a quarter: of 100 ms, 10 more are no throughput."""
    for low_s in (0.09, 0.1, 0.13):
        corrected, _, (said,) = correct_link(ETHERNET, seen(point(), trips=RoundTrips(50.0, low_s)))
        assert ETHERNET.model.throughput == corrected.model.throughput
        assert pytest.approx(0.1, rel=1e-3) == corrected.model.delay.si
        assert said.startswith("throughput: ")


def test_without_round_trips_and_with_one_size_only_the_throughput_changes() -> None:
    corrected, changes, (said,) = correct_link(ETHERNET, seen(point()))
    assert ["throughput", "message_overhead"] == [c.constant for c in changes]
    assert pytest.approx(8720 / (0.1 - 1e-4), rel=1e-3) == corrected.model.throughput.si
    assert said.startswith("delay: ")


def test_a_link_is_never_faster_than_its_physical_rate() -> None:
    """Ethernet's bits cannot be faster than 1 Gbit/s, however short a time is told."""
    points = network(0.0, 5e9, (1e6, 4e6))
    corrected, changes, _ = correct_link(ETHERNET, seen(*points))
    assert ETHERNET.model.phy_rate.si == corrected.model.throughput.si
    assert "the physical rate at most" in changes[0].source


def test_paper_s_radio_has_one_rate() -> None:
    """8000 bits in 100 ms and 16000 in 300 ms, the latter three times as often: 56 kbit in 1 s.

    Of the payload where agents tell it.
    """
    points = (
        point(payload_bytes=None),
        point(2, message_bytes=2100.0, payload_bytes=2000.0, network_s=0.3, from_fog=300.0),
    )
    corrected, (change,), _ = correct_link(PAPER_LINK, seen(*points))
    assert ("rate", "Mbit/s", 1.0, 0.056) == (
        change.constant, change.unit, change.before, change.after,
    )  # fmt: skip
    assert PAPER_LINK.model.power == corrected.model.power


def test_bluetooth_and_silence_correct_nothing() -> None:
    ble = read_link_profile("ble-1m")
    for link, points, reason in (
        (ble, [point()], "Bluetooth's constants"),
        (ETHERNET, [point(from_fog=0.0, network_s=None)], "no window came back"),
        (ETHERNET, [], "no window came back"),
    ):
        corrected, changes, (said,) = correct_link(link, seen(*points))
        assert (link, ()) == (corrected, changes)
        assert reason in said


def test_fog_s_time_is_told_as_a_multiple_of_the_edge_s() -> None:
    """A tail of 250,000 dense MACs: 25 us and 100 us on the Pi, 4 ms in the fog: 32 times."""
    fog, said = fog_time(PI, seen(point()))
    assert (0.001, pytest.approx(32.0), pytest.approx(25e-6), ()) == (
        fog.queue_s, fog.tail_ratio, fog.run_s, said,
    )  # fmt: skip
    head_s, whole_s = 175e-6, 25e-6 + 150e-6 + 100e-6
    assert pytest.approx(0.004) == fog.tail_s(head_s, whole_s)
    assert pytest.approx(32 * 275e-6) == fog.tail_s(0.0, whole_s)


def test_fog_of_which_nothing_is_told_adds_what_is() -> None:
    fog, (said,) = fog_time(PI, seen(point(tail_s=None)))
    assert (0.001, 0.0) == (fog.queue_s, fog.tail_ratio)
    assert "time of a tail is unknown" in said
    assert 0.0 == fog_time(PI, seen(point(from_fog=0.0, network_s=None)))[0].queue_s


def test_correcting_again_keeps_the_name() -> None:
    once = correct_link(ETHERNET, seen(point())).profile
    assert "ethernet-field" == correct_link(once, seen(point(network_s=0.2))).profile.name
    long = msgspec.structs.replace(ETHERNET, name="a" * 64)
    assert 64 == len(correct_link(long, seen(point())).profile.name)


@given(
    scale=st.floats(0.01, 100),
    macs=st.lists(st.integers(1000, 10**9), min_size=1, max_size=6),
)
def test_a_slower_device_is_recovered(scale: float, macs: list[int]) -> None:
    """Whatever heads ran, if all took so many times as long."""
    heads = [Operations(conv_macs=n, dense_macs=n // 3) for n in macs]
    points = [
        point(i, head=head, head_s=scale * predict_compute(PI, head).seconds)
        for i, head in enumerate(heads)
    ]
    corrected = correct_device(PI, seen(*points)).profile
    for before, after in (
        (PI.model.conv_time, corrected.model.conv_time),
        (PI.model.run_time, corrected.model.run_time),
    ):
        assert scale == pytest.approx(after.value / before.value, rel=1e-3)


@given(
    delay_s=st.floats(1e-5, 1.0),
    share=st.floats(0.3, 0.999),
    sizes=st.lists(st.floats(200, 1e6), min_size=1, max_size=4),
)
def test_a_link_is_recovered_from_two_sizes_and_more(
    delay_s: float, share: float, sizes: list[float]
) -> None:
    """Wherever the bits of the longest take a share of its time that can be told."""
    sizes = [*sizes, 3 * max(sizes)]
    throughput = message_bits(ETHERNET.model, sizes[-1]) * (1 - share) / share / delay_s
    points = network(delay_s, throughput, sizes)
    corrected = correct_link(ETHERNET, seen(*points)).profile
    if throughput <= ETHERNET.model.phy_rate.si:
        assert throughput == pytest.approx(corrected.model.throughput.si, rel=1e-3)
    assert delay_s == pytest.approx(corrected.model.delay.si, rel=1e-3)


@given(
    times=st.lists(st.floats(1e-4, 10), min_size=2, max_size=5),
    bits=st.lists(st.integers(1, 50), min_size=5, max_size=5, unique=True),
)
def test_line_is_the_least_squares_one_within_its_bounds(
    times: list[float], bits: list[int]
) -> None:
    """No neighbour of the solution, with neither constant below 0, is better."""
    ways = [Way(0.0, s, 0.0, 10.0 + i) for i, s in enumerate(times)]
    known = [1e3 * b for b in bits[: len(ways)]]

    def error(delay_s: float, bit_s: float) -> float:
        return math.fsum(
            w.windows * ((delay_s + b * bit_s) / w.network_s - 1) ** 2
            for b, w in zip(known, ways, strict=True)
        )

    delay_s, bit_s = fit_line(known, ways)
    assert delay_s >= 0
    assert bit_s >= 0
    best, step = error(delay_s, bit_s), 1e-4 * max(times)
    for more in (-step, 0.0, step):
        for slower in (-step / 1e4, 0.0, step / 1e4):
            other = error(max(0.0, delay_s + more), max(0.0, bit_s + slower))
            assert best <= other * (1 + 1e-9) + 1e-12


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(1, 5)), min_size=1, max_size=9))
def test_weighted_median_is_that_of_the_values_repeated(values: list[tuple[float, int]]) -> None:
    repeated = sorted(v for v, count in values for _ in range(count))
    middle = len(repeated) // 2
    expected = repeated[middle]
    if len(repeated) % 2 == 0:
        expected = (repeated[middle - 1] + expected) / 2
    assert expected == pytest.approx(weighted_median(values))
