"""The ways of pricing a computation or a message, each a set of constants with checked units."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from headtail.constant import Constant


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """A set of constants whose units are checked; `units` says what each must measure in."""

    units: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        for field, expected in self.units.items():
            check_unit(field, getattr(self, field), expected)


class PaperOperations(_Model, frozen=True, tag="paper-operations"):
    """The regression of the energy-aware NAS paper: stuffed MACs, conv weights and FC MACs.

    Source: deduced from the tables of the paper (11 layer groups, max error 1.75 %, rms 0.7 %).
    """

    units: ClassVar[Mapping[str, str]] = {
        "conv_macz": "J/MAC",
        "conv_parameter": "J/parameter",
        "dense_mac": "J/MAC",
    }

    conv_macz: Constant
    """Energy of one MAC of a convolution over the zero-stuffed input."""
    conv_parameter: Constant
    """Energy of one convolution weight or bias."""
    dense_mac: Constant
    """Energy of one MAC of a dense layer."""


class PerMac(_Model, frozen=True, tag="per-mac"):
    """One energy and one time for each kind of MAC."""

    units: ClassVar[Mapping[str, str]] = {
        "conv_energy": "J/MAC",
        "depthwise_energy": "J/MAC",
        "dense_energy": "J/MAC",
        "conv_time": "s/MAC",
        "depthwise_time": "s/MAC",
        "dense_time": "s/MAC",
    }

    conv_energy: Constant
    depthwise_energy: Constant
    dense_energy: Constant
    conv_time: Constant
    depthwise_time: Constant
    dense_time: Constant


class CpuTime(_Model, frozen=True, tag="cpu-time"):
    """CPU seconds at the power that full load adds to idle, shared by the cores."""

    units: ClassVar[Mapping[str, str]] = {
        "full_power": "W",
        "idle_power": "W",
        "conv_time": "s/MAC",
        "depthwise_time": "s/MAC",
        "dense_time": "s/MAC",
        "run_time": "s",
    }

    full_power: Constant
    """Power of the whole board with every core busy."""
    idle_power: Constant
    """Power of the whole board with nothing to do."""
    cores: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    conv_time: Constant
    """CPU time of one MAC of a convolution, on one core."""
    depthwise_time: Constant
    dense_time: Constant
    run_time: Constant
    """CPU time that one run of a head takes before its first MAC."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.full_power.si < self.idle_power.si:
            raise ValueError("full_power must be at least idle_power")


class PaperLink(_Model, frozen=True, tag="paper"):
    """The paper's radio: a power for the time of the payload's bits, and nothing else."""

    units: ClassVar[Mapping[str, str]] = {"power": "W", "rate": "bit/s"}

    power: Constant
    rate: Constant


class BleLink(_Model, frozen=True, tag="ble"):
    """A Bluetooth LE connection whose peripheral sends notifications, packet by packet."""

    units: ClassVar[Mapping[str, str]] = {
        "voltage": "V",
        "transmit": "A",
        "receive": "A",
        "cpu": "A",
        "sleep": "A",
        "start_ratio": "1",
        "ramp": "s",
        "event_charge": "C",
        "window": "s",
        "clock_accuracy": "1",
    }

    phy: Literal["1M", "2M"]
    is_encrypted: bool
    """Whether a payload carries a 4-byte message integrity check."""
    mtu_bytes: Annotated[int, msgspec.Meta(ge=23, le=517)]
    """ATT MTU; a notification carries 3 bytes less."""
    pdu_bytes: Annotated[int, msgspec.Meta(ge=27, le=251)]
    """Largest link-layer payload: 27 without the data length extension, 251 with it."""
    interval_s: Annotated[float, msgspec.Meta(ge=0.0075, le=4.0)]
    """Connection interval."""
    peripheral_latency: Annotated[int, msgspec.Meta(ge=0, le=499)]
    """Events the peripheral may leave out while it has nothing to send."""
    voltage: Constant
    transmit: Constant
    """Supply current while sending."""
    receive: Constant
    cpu: Constant
    """Current between packets while the radio is off."""
    sleep: Constant
    start_ratio: Constant
    """Current while the radio ramps up, as a share of `receive`."""
    ramp: Constant
    """Time that the radio takes to ramp up."""
    event_charge: Constant
    """Charge of waking for one connection event and going back to sleep."""
    window: Constant
    """Time by which the receiver opens early, whatever the interval."""
    clock_accuracy: Constant
    """The part of the interval by which the receiver opens early."""


class PowerTime(_Model, frozen=True, tag="power-time"):
    """An IP link: transmit power while bits are on the medium, receive power until it is done."""

    units: ClassVar[Mapping[str, str]] = {
        "transmit_power": "W",
        "receive_power": "W",
        "idle_power": "W",
        "phy_rate": "bit/s",
        "throughput": "bit/s",
        "packet": "B",
        "packet_overhead": "B",
        "message_overhead": "B",
        "delay": "s",
    }

    transmit_power: Constant
    receive_power: Constant
    idle_power: Constant
    """Power of the link with nothing to send, not part of any message."""
    phy_rate: Constant
    """Bits a second while the transmitter is on."""
    throughput: Constant
    """Bits a second that arrive: acknowledgements, contention and gaps counted."""
    packet: Constant
    """Payload of one packet."""
    packet_overhead: Constant
    """Headers of one packet, every layer together."""
    message_overhead: Constant
    """Bytes of one message beside its payload: HTTP/2 and request framing."""
    delay: Constant
    """Time before the first bit, at receive power."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.throughput.si > self.phy_rate.si:
            raise ValueError("throughput must be at most phy_rate")
        if self.packet.si < 1:
            raise ValueError("packet must carry at least 1 B")


def check_unit(field: str, constant: Constant, expected: str) -> None:
    """Raise ValueError unless `constant` measures in `expected`, and in more than zero of it."""
    if constant.dimension != expected:
        raise ValueError(f"{field}: expected a unit of {expected}, received '{constant.unit}'")
    # Voltages and sizes of zero describe nothing, and rates are divided by.
    if expected in ("bit/s", "V") and constant.value == 0:
        raise ValueError(f"{field}: expected more than 0 {constant.unit}")
