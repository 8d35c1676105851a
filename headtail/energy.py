"""Predicted energy and time of computing and sending: pure functions in joules and seconds."""

import math
from dataclasses import dataclass
from typing import assert_never

from headtail import ble
from headtail.cost_model import BleLink, CpuTime, PaperLink, PaperOperations, PerMac, PowerTime
from headtail.operations import Operations
from headtail.profile import DeviceProfile, LinkProfile


@dataclass(frozen=True, slots=True)
class Compute:
    """Predicted cost of computing; `seconds` is None where the profile has no speeds."""

    seconds: float | None
    joules: float


@dataclass(frozen=True, slots=True)
class Transmission:
    """Predicted cost of one message, `seconds` from handing it over to its last acknowledgement."""

    seconds: float
    joules: float


def predict_compute(device: DeviceProfile, operations: Operations) -> Compute:
    """Return what computing `operations` once costs on `device`.

    Args:
        device: The profile whose model prices the operations.
        operations: Counts for one window; nothing to compute costs nothing.
    """
    model = device.model
    match model:
        case PaperOperations():
            return Compute(None, _paper_j(model, operations))
        case PerMac():
            joules = (
                operations.conv_macs * model.conv_energy.si
                + operations.depthwise_macs * model.depthwise_energy.si
                + operations.dense_macs * model.dense_energy.si
            )
            return Compute(_mac_time_s(model, operations), joules)
        case CpuTime():
            if operations == Operations():
                return Compute(0.0, 0.0)
            seconds = model.run_time.si + _mac_time_s(model, operations)
            return Compute(seconds, predict_cpu_j(model, seconds))
        case _:
            assert_never(model)


def predict_cpu_j(model: CpuTime, cpu_s: float) -> float:
    """Return what `cpu_s` seconds on one core add to an idle board's energy.

    Source: E = (P_full - P_idle) x cpu_seconds / cores, the linear-in-utilisation power model.
    """
    return (model.full_power.si - model.idle_power.si) * cpu_s / model.cores


def predict_transmission(link: LinkProfile, payload_bytes: int) -> Transmission:
    """Return what one message of `payload_bytes` costs the sender; an empty one is not sent.

    Raises:
        ValueError: If `payload_bytes` is negative.
    """
    if payload_bytes < 0:
        raise ValueError(f"payload_bytes must be at least 0, received {payload_bytes}")
    if payload_bytes == 0:
        return Transmission(0.0, 0.0)
    model = link.model
    match model:
        case PaperLink():
            # Energy-aware NAS paper, section IV-B: no header, acknowledgement or event.
            seconds = 8 * payload_bytes / model.rate.si
            return Transmission(seconds, model.power.si * seconds)
        case BleLink():
            return Transmission(
                ble.message_time_s(model, payload_bytes), ble.message_energy_j(model, payload_bytes)
            )
        case PowerTime():
            return _power_time(model, payload_bytes)
        case _:
            assert_never(model)


def idle_power_w(link: LinkProfile) -> float:
    """Return the power of keeping the link with nothing to send; no message includes it."""
    model = link.model
    match model:
        case PaperLink():
            return 0.0  # the paper has no idle link: its largest omission, see docs/energy.md
        case BleLink():
            return ble.idle_power_w(model)
        case PowerTime():
            return model.idle_power.si
        case _:
            assert_never(model)


def _paper_j(model: PaperOperations, operations: Operations) -> float:
    # E = 26.47 nJ x MACz + 31.55 nJ x conv weights (with bias) + 34.07 nJ x FC MACs, deduced from
    # the paper's tables, which have no depthwise layers: those count as convolutions (assumed).
    conv_macz = operations.conv_macz + operations.depthwise_macs
    parameters = operations.conv_parameters + operations.depthwise_parameters
    return (
        conv_macz * model.conv_macz.si
        + parameters * model.conv_parameter.si
        + operations.dense_macs * model.dense_mac.si
    )


def _mac_time_s(model: PerMac | CpuTime, operations: Operations) -> float:
    return (
        operations.conv_macs * model.conv_time.si
        + operations.depthwise_macs * model.depthwise_time.si
        + operations.dense_macs * model.dense_time.si
    )


def _power_time(model: PowerTime, payload_bytes: int) -> Transmission:
    message_bytes = payload_bytes + model.message_overhead.si
    packets = math.ceil(message_bytes / model.packet.si)
    bits = 8 * (message_bytes + packets * model.packet_overhead.si)
    transmit_s = bits / model.phy_rate.si
    seconds = model.delay.si + bits / model.throughput.si
    joules = model.transmit_power.si * transmit_s + model.receive_power.si * (seconds - transmit_s)
    return Transmission(seconds, joules)
