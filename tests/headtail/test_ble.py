"""Bluetooth LE packet by packet, against the core specification's and FACTS' own figures."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.ble import (
    air_time_s,
    event_charge_c,
    fragment,
    idle_power_w,
    marginal_energy_j,
    message_energy_j,
    message_time_s,
    schedule,
)
from headtail.cost_model import BleLink
from headtail.profile import read_link_profile

VALUES = (2, 5, 12, 24, 32, 64, 2048)  # float32 values of a message
# Closed form at MTU 247, unencrypted, interval 50 ms: uJ for each event, PDU and byte.
CLOSED = {"1M": (4.36, 7.47, 0.1536), "2M": (4.36, 5.57, 0.0768)}
MESSAGE_BYTES = st.integers(1, 20_000)


def link(phy: str = "1M", **changes: object) -> BleLink:
    """Return the shipped link with some settings changed."""
    model = read_link_profile(f"ble-{phy.lower()}").model
    assert isinstance(model, BleLink)
    return msgspec.structs.replace(model, **changes)


LINKS = st.builds(
    link,
    phy=st.sampled_from(["1M", "2M"]),
    is_encrypted=st.booleans(),
    mtu_bytes=st.integers(23, 517),
    pdu_bytes=st.integers(27, 251),
    interval_s=st.floats(0.0075, 4.0),
    peripheral_latency=st.integers(0, 499),
)


@pytest.mark.parametrize(
    ("phy", "payload_bytes", "is_encrypted", "us"),
    [
        ("1M", 0, False, 80),
        ("2M", 0, False, 44),
        ("1M", 0, True, 80),
        ("1M", 27, True, 328),
        ("1M", 251, True, 2120),
        ("2M", 251, True, 1064),
        ("1M", 251, False, 2088),
    ],
)
def test_air_time(phy: str, payload_bytes: int, is_encrypted: bool, us: int) -> None:
    """An empty packet carries no integrity check, whatever the link."""
    ble = link(phy, is_encrypted=is_encrypted)
    assert pytest.approx(us * 1e-6) == air_time_s(ble, payload_bytes)


@pytest.mark.parametrize(
    ("phy", "expected_uj"),
    [
        ("1M", (13.1, 14.9, 19.2, 26.6, 31.5, 58.6, 1521)),
        ("2M", (10.5, 11.5, 13.6, 17.3, 19.8, 35.2, 823)),
    ],
)
def test_energy_of_a_message(phy: str, expected_uj: tuple[float, ...]) -> None:
    """The `full` rows of the reference table, to its last printed digit."""
    received = [message_energy_j(link(phy), 4 * n) * 1e6 for n in VALUES]
    assert expected_uj == (*(round(r, 1) for r in received[:-1]), round(received[-1]))


def test_energy_that_a_message_adds() -> None:
    """The `marginal` row of the reference table, to its last printed digit."""
    received = [marginal_energy_j(link(), 4 * n) * 1e6 for n in VALUES]
    printed = (2.3, 4.1, 8.4, 15.8, 20.7, 47.9, 1500)
    assert printed == (*(round(r, 1) for r in received[:-1]), round(received[-1], -1))


@pytest.mark.parametrize(("interval_s", "uw"), [(0.05, 221), (1.0, 17)])
def test_power_of_keeping_a_link_alive(interval_s: float, uw: int) -> None:
    """221 uW at 50 ms, 17 uW at 1 s."""
    assert uw == round(idle_power_w(link(interval_s=interval_s)) * 1e6)


def test_idle_energy_of_one_paper_window() -> None:
    """Over a 4 s window the idle link costs 0.88 mJ, ten times SD-1's whole edge energy."""
    assert 0.88 == round(4 * idle_power_w(link()) * 1e3, 2)


@given(message_bytes=MESSAGE_BYTES, phy=st.sampled_from(["1M", "2M"]))
def test_closed_form_equals_the_sum(message_bytes: int, phy: str) -> None:
    """The sum over packets and the three-coefficient form agree within the form's rounding.

    They count packets alike; events are counted by the sum, since a packet is never cut in two at
    an event's end, where the closed form divides the air time by the interval.
    """
    ble = link(phy)
    packets = fragment(ble, message_bytes)
    event_uj, pdu_uj, byte_uj = CLOSED[phy]
    closed_uj = (
        event_uj * len(schedule(ble, packets)) + pdu_uj * len(packets) + byte_uj * message_bytes
    )
    assert pytest.approx(closed_uj, rel=2e-3) == message_energy_j(ble, message_bytes) * 1e6


@given(message_bytes=MESSAGE_BYTES, phy=st.sampled_from(["1M", "2M"]))
def test_events_are_the_air_time_over_the_interval(message_bytes: int, phy: str) -> None:
    """Whole packets need at most one event more than the closed form's ceiling, never fewer."""
    ble = link(phy)
    packets = fragment(ble, message_bytes)
    exchange_s = sum(air_time_s(ble, 0) + air_time_s(ble, n) + 2 * 150e-6 for n in packets)
    least = math.ceil(exchange_s / ble.interval_s)
    assert least <= len(schedule(ble, packets)) <= least + 1


@given(ble=LINKS, message_bytes=MESSAGE_BYTES)
def test_packets_carry_the_message_and_its_headers(ble: BleLink, message_bytes: int) -> None:
    """Nothing is lost: 7 header bytes for each notification, no packet over the limit."""
    packets = fragment(ble, message_bytes)
    notifications = math.ceil(message_bytes / (ble.mtu_bytes - 3))
    assert message_bytes + 7 * notifications == sum(packets)
    assert all(0 < packet <= ble.pdu_bytes for packet in packets)


@given(ble=LINKS, message_bytes=MESSAGE_BYTES)
def test_events_hold_every_packet_in_order(ble: BleLink, message_bytes: int) -> None:
    """The schedule only groups."""
    packets = fragment(ble, message_bytes)
    assert packets == tuple(p for event in schedule(ble, packets) for p in event)


@given(ble=LINKS, message_bytes=st.integers(0, 20_000), more=st.integers(1, 5_000))
def test_more_bytes_never_cost_less(ble: BleLink, message_bytes: int, more: int) -> None:
    """Energy and time are monotone in the message's length."""
    for cost in (message_energy_j, message_time_s):
        assert 0 <= cost(ble, message_bytes) <= cost(ble, message_bytes + more)


@given(ble=LINKS, message_bytes=MESSAGE_BYTES)
def test_marginal_energy_is_part_of_the_full(ble: BleLink, message_bytes: int) -> None:
    """A message costs more than the events that would have happened anyway."""
    assert 0 < marginal_energy_j(ble, message_bytes) < message_energy_j(ble, message_bytes)


def test_a_message_waits_half_an_interval() -> None:
    """One packet: on average 25 ms to the event, then its exchange."""
    exchange_s = 80e-6 + 150e-6 + 8 * (1 + 4 + 2 + 27 + 3) * 1e-6 + 150e-6
    assert pytest.approx(0.025 + exchange_s) == message_time_s(link(), 20)


def test_short_packets_without_data_length_extension() -> None:
    """A notification of 27 bytes and headers is cut into 27-byte packets."""
    assert (27, 7) == fragment(link(pdu_bytes=27), 27)


def test_charge_of_an_empty_event() -> None:
    """Q_empty is what idle power is made of: 3.58 uC at 1M and 50 ms."""
    assert 3.58 == round(event_charge_c(link(), (0,)) * 1e6, 2)
