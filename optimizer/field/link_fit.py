"""Delay and throughput of a link from the times of messages of known sizes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from headtail.cost_model import PowerTime
from optimizer.field.observation import RoundTrips

MIN_SPREAD = 2.0
"""The longest messages must have so many times the bits of the shortest to tell two constants."""
MIN_SHARE = 0.25
"""What bits take must be such a share of a message's time; less is lost in what is not known of
the rest: a round trip is known to a quarter of itself."""
NO_TRIPS = (
    "delay: messages of one size and no round trips do not tell it apart from the throughput, so it"
    " stays"
)
TOO_SHORT = "throughput: what bits take is lost in what the rest of a message takes, so it stays"


class Way(NamedTuple):
    """Messages of one size."""

    message_bytes: float
    network_s: float
    """Time of a message and its answer that nothing hindered; more than nothing."""
    wait_s: float
    """By how much their mean time is longer."""
    windows: float


class FittedWay(NamedTuple):
    """What follows; None leaves a constant as it was."""

    delay_s: float | None
    throughput: float | None
    """In bit/s."""
    how: str
    kept: tuple[str, ...] = ()
    """What could not be told, and why."""


def message_bits(model: PowerTime, message_bytes: float) -> float:
    """Return what a message is on the medium, as `headtail.energy` counts it, in bits."""
    packets = math.ceil(message_bytes / model.packet.si)
    return 8 * (message_bytes + packets * model.packet_overhead.si)


def fit_way(model: PowerTime, ways: Sequence[Way], trips: RoundTrips | None) -> FittedWay:
    """Return delay and throughput so that messages take as long as they were seen to.

    What bits take shows where nothing hinders them; what messages wait on the mean is delay. With
    sizes far enough apart both follow by non-negative least squares of relative errors; with one
    size and round trips the delay is a round trip's; with neither the delay stays.

    Args:
        model: The link before.
        ways: What was seen, at least one.
        trips: Round trips of messages of nearly no size, where they are known.
    """
    bits = [message_bits(model, way.message_bytes) for way in ways]
    total = sum(way.windows for way in ways)
    low_s = sum(way.network_s * way.windows for way in ways) / total
    wait_s = sum(way.wait_s * way.windows for way in ways) / total
    mean_bits = sum(b * way.windows for b, way in zip(bits, ways, strict=True)) / total
    longest = max(range(len(ways)), key=bits.__getitem__)
    if bits[longest] >= MIN_SPREAD * min(bits):
        delay_s, bit_s = fit_line(bits, ways)
        if bit_s * bits[longest] < MIN_SHARE * ways[longest].network_s:
            return _by_rate(model, mean_bits, low_s, wait_s)
        how = "least squares over messages of several sizes"
        return FittedWay(delay_s + wait_s, *_limited(model, 1 / bit_s, how))
    delay_s = model.delay.si if trips is None else min(trips.low_s, low_s)
    if low_s - delay_s < MIN_SHARE * low_s:
        return _by_rate(model, mean_bits, low_s, wait_s)
    if trips is None:
        throughput = mean_bits / (low_s + wait_s - delay_s)
        limited = _limited(model, throughput, "above the delay as it was")
        return FittedWay(None, *limited)._replace(kept=(NO_TRIPS,))
    how = f"above {trips.count:.0f} round trips"
    limited = _limited(model, mean_bits / (low_s - delay_s), how)
    return FittedWay(delay_s + wait_s, *limited)


def fit_line(bits: Sequence[float], ways: Sequence[Way]) -> tuple[float, float]:
    """Return delay and seconds per bit, both at least 0, with the least squared relative error.

    Args:
        bits: Of each message, not all alike.
        ways: The messages; each counts by its windows.
    """
    unit = sum(bits) / len(bits)  # so that the sums are of one magnitude
    rows = [
        (w.windows / w.network_s**2, b / unit, w.network_s) for b, w in zip(bits, ways, strict=True)
    ]
    k, kx, ky, kxx, kxy = (
        sum(r[0] * r[1] ** i * r[2] ** j for r in rows)
        for i, j in ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1))
    )
    slope = (k * kxy - kx * ky) / (k * kxx - kx * kx)
    if slope < 0:
        return ky / k, 0.0
    delay_s = (ky - slope * kx) / k
    return (delay_s, slope / unit) if delay_s >= 0 else (0.0, kxy / kxx / unit)


def _by_rate(model: PowerTime, bits: float, low_s: float, wait_s: float) -> FittedWay:
    """Return the delay that is left of a time where bits take what they took, or MIN_SHARE."""
    known = model.throughput.si
    least = bits / (MIN_SHARE * low_s)
    if known >= least:
        how = "what the throughput as it was leaves"
        return FittedWay(low_s - bits / known + wait_s, None, how, (TOO_SHORT,))
    how = f"bits take at most {MIN_SHARE:.0%} of a message's time"
    return FittedWay((1 - MIN_SHARE) * low_s + wait_s, *_limited(model, least, how))


def _limited(model: PowerTime, throughput: float, how: str) -> tuple[float, str]:
    """Return a throughput that is no more than the physical rate, and how it was found."""
    most = model.phy_rate.si
    return (throughput, how) if throughput <= most else (most, f"{how}; the physical rate at most")
