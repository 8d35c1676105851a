"""Latency and edge energy of every option, from what was measured here and what is estimated."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_agent.meter import EnergyMeter, ProfileMeter
from edge_agent.partition.offer import Option
from edge_agent.partition.probing import Price
from headtail.constant import Constant
from headtail.cost_model import CpuTime, PowerTime
from headtail.energy import predict_cpu_j, predict_transmission
from headtail.profile import LinkProfile

Vector = NDArray[np.float64]
"""One value an option."""
FRAMING_BYTES = 40
"""What gRPC and HTTP/2 add to a message on an open stream, about."""

PROBE_SHARE, PROBE_PAUSE_S = 0.025, 30.0
"""Of the windows' energy that probes may add where energy counts; but rarer than every so many
seconds they are not."""
PROBE_MOST, PROBE_SOON_S = 0.04, 3.5
"""So much they may add on the slowest links, for one to come every so many seconds: a link that has
become better is then seen in time."""
PROBE_WINDOWS = 0.3
"""Of a window's energy that one probe may usually take."""
PROBE_SIZES = (1, 1001)
"""Bytes by which a probe's price is known: a line holds for all in one packet."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a prediction is made from; times in seconds."""

    round_trip_s: float
    """Of a message without bits, all that every message costs included."""
    seconds_per_bit: float
    """Inverse of the uplink's rate."""
    queue_s: float = 0.0
    """Wait in the fog."""
    head_ratio: float = 1.0
    """How many times longer heads take than when the bundle was loaded."""
    tail_ratio: float = 1.0
    """The fog's time for a tail over this device's."""
    overhead_s: float = 0.0
    """Of the agent for each window that the fog answers, beyond head and message."""
    failed_ratio: float = 0.0
    """Share of the fog's windows that had to be finished here."""
    interval_s: float = float("inf")
    """Between windows, as they come."""
    room: int = 1
    """Windows that may be under way."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What every option is predicted to cost one window."""

    latency_s: Vector
    energy_j: Vector
    """NaN where no profile prices it."""


class Predictor:
    """Holds the options as columns, so that all are predicted at once."""

    def __init__(self, options: Sequence[Option], meter: EnergyMeter) -> None:
        """Prepare.

        Args:
            options: Their order is that of every vector.
            meter: Prices computing and sending.
        """
        self.options = tuple(options)
        self.head_s = np.array([o.head_s for o in options])
        self.encode_s = np.array([o.encode_s for o in options])
        self.inflate_s = np.array([o.inflate_s for o in options])
        self.is_sent = np.array([float(not o.plan.is_local) for o in options])
        self.bits = self.is_sent * [8.0 * (o.message_bytes + FRAMING_BYTES) for o in options]
        self.tail_s = self.is_sent * [o.tail_s for o in options]
        self._energy = _Energy(options, meter)

    def predict(self, estimates: Estimates, tails_s: Vector | None = None) -> Costs:
        """Return what every option costs.

        Args:
            estimates: Of link, device and fog.
            tails_s: The fog's time for the tail of each option; None: by `tail_ratio` alone.
        """
        e = estimates
        head, encode = self.head_s * e.head_ratio, self.encode_s * e.head_ratio
        moving = self.bits * e.seconds_per_bit
        tail = self.tail_s * e.tail_ratio if tails_s is None else tails_s * self.is_sent
        wait = encode + moving + self.inflate_s + tail
        wait += self.is_sent * (e.round_trip_s + e.queue_s + e.overhead_s)
        again = self.tail_s * (e.failed_ratio * e.head_ratio)
        latency = head + wait + again
        busiest = np.maximum(np.maximum(head + encode, moving), tail)
        # What cannot keep up with its windows ends with all of its room waiting.
        if busiest.max() >= e.interval_s and e.room > 1:
            full = np.maximum(latency, e.room * busiest)
            latency = np.where(busiest >= e.interval_s, full, latency)
        return Costs(latency, self._energy.of(head + again, e.seconds_per_bit, e.failed_ratio))

    def probe_price(
        self, bits: float, seconds_per_bit: float, window_j: float, every_s: float
    ) -> Price:
        """Return how rare and how small probes must be for what they cost.

        Args:
            bits: Of the last one, all of its own headers included.
            seconds_per_bit: Inverse of the uplink's rate.
            window_j: Energy of a window.
            every_s: Seconds from one window to the next.
        """
        probe_j = self._energy.of_probe(bits / 8.0, seconds_per_bit)
        alone_s = every_s * probe_j / max(window_j, 1e-12)
        pause_s = max(min(alone_s / PROBE_SHARE, PROBE_SOON_S), alone_s / PROBE_MOST)
        most_bytes = self._energy.bytes_of_probe(PROBE_WINDOWS * window_j, seconds_per_bit)
        return Price(min(PROBE_PAUSE_S, pause_s), most_bytes)


class _Energy:
    """Prices the options' times and messages.

    The device is priced by the time that its head takes where its profile says what a second
    costs, and a message by the rate that is observed where the link's profile has a throughput.
    """

    def __init__(self, options: Sequence[Option], meter: EnergyMeter) -> None:
        segments = len(options[0].plan.manifest.segments)
        points = [o.plan.point.index for o in options]
        payloads = [0 if o.plan.is_local else _payload_bytes(o) for o in options]
        self._head_j = np.array([_joules(meter.compute_j(0, k)) for k in points])
        self._rest_j = np.array([_joules(meter.compute_j(k, segments)) for k in points])
        self._sent_j = np.array([_joules(meter.tx_j(b)) for b in payloads])
        self._cpu_w: float | None = None
        self._sent_w = np.zeros(len(options))
        self._least_s = 0.0
        one, more = (_joules(meter.tx_j(b)) for b in PROBE_SIZES)
        self._probe_j, self._probe_w = _line(one, more), (0.0, 0.0)
        if not isinstance(meter, ProfileMeter):
            return
        if isinstance(meter.device.model, CpuTime):
            self._cpu_w = predict_cpu_j(meter.device.model, 1.0)
        if isinstance(radio := meter.link.model, PowerTime):
            # Linear in the time of a bit: two values tell all.
            rate = radio.phy_rate.si
            quick, slow = (_at_rate(meter.link, r) for r in (rate, rate / 2.0))
            at_rate = np.array([predict_transmission(quick, b).joules for b in payloads])
            at_half = np.array([predict_transmission(slow, b).joules for b in payloads])
            self._least_s = 1.0 / rate
            self._sent_w = (at_half - at_rate) * rate
            self._sent_j = 2.0 * at_rate - at_half
            # The bytes of a probe have its headers among them.
            bare = [_bare(link) for link in (quick, slow)]
            at_rate, at_half = (
                np.array([predict_transmission(link, b).joules for b in PROBE_SIZES])
                for link in bare
            )
            self._probe_w = _line(*((at_half - at_rate) * rate))
            self._probe_j = _line(*(2.0 * at_rate - at_half))

    def of(self, compute_s: Vector, seconds_per_bit: float, failed_ratio: float) -> Vector:
        """Return the edge's energy of each option, in joules."""
        if self._cpu_w is None:
            compute_j = self._head_j + failed_ratio * self._rest_j
        else:
            compute_j = self._cpu_w * compute_s
        energy: Vector = compute_j + self._sent_j
        return energy + self._sent_w * max(seconds_per_bit, self._least_s)

    def of_probe(self, size: float, seconds_per_bit: float) -> float:
        """Return the energy of an empty call of so many bytes in all, in joules."""
        fixed_w, byte_w = self._probe_w
        fixed_j, byte_j = self._probe_j
        watts = fixed_w + byte_w * size
        return fixed_j + byte_j * size + watts * max(seconds_per_bit, self._least_s)

    def bytes_of_probe(self, joules: float, seconds_per_bit: float) -> float:
        """Return how many bytes an empty call has that takes so much energy: none, if it must."""
        none, more = (self.of_probe(size, seconds_per_bit) for size in (0.0, 1.0))
        return max(0.0, joules - none) / max(more - none, 1e-18)


def _line(one: float, more: float) -> tuple[float, float]:
    """Return the line through the values at `PROBE_SIZES`: at no bytes, and what a byte adds."""
    slope = float(more - one) / (PROBE_SIZES[1] - PROBE_SIZES[0])
    return float(one) - slope * PROBE_SIZES[0], slope


def _bare(link: LinkProfile) -> LinkProfile:
    """Return a profile that adds nothing of its own to a message but packets' headers."""
    assert isinstance(link.model, PowerTime), "checked by the caller"
    nothing = msgspec.structs.replace(link.model.message_overhead, value=0.0)
    model = msgspec.structs.replace(link.model, message_overhead=nothing)
    return msgspec.structs.replace(link, model=model)


def _at_rate(link: LinkProfile, rate: float) -> LinkProfile:
    """Return a profile whose throughput is `rate`, in bits a second."""
    assert isinstance(link.model, PowerTime), "checked by the caller"
    constant = Constant(value=rate, unit="bit/s", kind="measured", source="observed")
    model = msgspec.structs.replace(link.model, throughput=constant)
    return msgspec.structs.replace(link, model=model)


def _payload_bytes(option: Option) -> int:
    """Return the bytes that the meter prices for a window of an option."""
    plain = option.plan.payload_bytes
    return min(plain, option.message_bytes) if option.plan.compression else plain


def _joules(value: float | None) -> float:
    return float("nan") if value is None else value
