"""Bluetooth LE priced packet by packet: air times, connection events and their charge."""

from collections.abc import Sequence

from headtail.cost_model import BleLink

# Bluetooth Core Specification 5.4, vol. 6 part B: 2.1 and 2.2 (packet), 4.1.1 (T_IFS).
INTER_FRAME_S = 150e-6
PREAMBLE_BYTES = {"1M": 1, "2M": 2}
BIT_RATE = {"1M": 1e6, "2M": 2e6}  # bit/s
ACCESS_ADDRESS_BYTES, HEADER_BYTES, MIC_BYTES, CRC_BYTES = 4, 2, 4, 3
# The same, vol. 3: part A 3.1 (L2CAP basic header), part F 3.4.7.1 (notification: opcode, handle).
L2CAP_BYTES, ATT_BYTES = 4, 3


def air_time_s(ble: BleLink, payload_bytes: int) -> float:
    """Return the time on the air of one link-layer packet with `payload_bytes` of payload.

    Source: Bluetooth Core Specification 5.4, vol. 6 part B, 2.1 and 2.2; an empty packet is never
    encrypted, so it carries no integrity check.
    """
    check_bytes = MIC_BYTES if ble.is_encrypted and payload_bytes else 0
    frame_bytes = (
        PREAMBLE_BYTES[ble.phy]
        + ACCESS_ADDRESS_BYTES
        + HEADER_BYTES
        + payload_bytes
        + check_bytes
        + CRC_BYTES
    )
    return 8 * frame_bytes / BIT_RATE[ble.phy]


def fragment(ble: BleLink, payload_bytes: int) -> tuple[int, ...]:
    """Return the link-layer payload of each packet that a message of `payload_bytes` becomes.

    The message is cut into notifications of MTU - 3 bytes; each gets 7 bytes of L2CAP and ATT
    headers and is cut again where it exceeds the link layer's payload.
    """
    packets = []
    for sent in range(0, payload_bytes, ble.mtu_bytes - ATT_BYTES):
        left = min(ble.mtu_bytes - ATT_BYTES, payload_bytes - sent) + L2CAP_BYTES + ATT_BYTES
        while left > 0:
            packets.append(min(ble.pdu_bytes, left))
            left -= packets[-1]
    return tuple(packets)


def schedule(ble: BleLink, packets: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the packets of each connection event: as many as fit one interval with their acks."""
    events: list[list[int]] = []
    free_s = 0.0
    for packet in packets:
        exchange_s = _exchange_s(ble, packet)
        if not events or exchange_s > free_s:
            events.append([])
            free_s = ble.interval_s
        events[-1].append(packet)
        free_s -= exchange_s
    return tuple(tuple(event) for event in events)


def event_charge_c(ble: BleLink, packets: Sequence[int]) -> float:
    """Return the charge of one connection event in which the peripheral sends `packets`.

    Args:
        ble: The link.
        packets: Link-layer payload of each packet sent; `(0,)` is the event that only keeps
            the connection.

    Source: Q = q_fixed + t_ramp I_start + (widening + t_air(0)) I_rx
    + sum_k[(T_IFS - t_ramp) I_cpu + t_ramp I_start + t_air(n_k) I_tx]
    + (m - 1)[(T_IFS - t_ramp) I_cpu + t_ramp I_start + t_air(0) I_rx]; timings of the core
    specification, currents of the nRF52840's product specification, q_fixed calibrated.
    """
    receive_a = ble.receive.si
    start_c = ble.ramp.si * ble.start_ratio.si * receive_a
    turn_c = (INTER_FRAME_S - ble.ramp.si) * ble.cpu.si + start_c
    widening_s = ble.window.si + ble.clock_accuracy.si * ble.interval_s
    empty_s = air_time_s(ble, 0)
    sent_c = sum(turn_c + air_time_s(ble, n) * ble.transmit.si for n in packets)
    acknowledged_c = (len(packets) - 1) * (turn_c + empty_s * receive_a)
    opened_c = ble.event_charge.si + start_c + (widening_s + empty_s) * receive_a
    return opened_c + sent_c + acknowledged_c


def message_energy_j(ble: BleLink, payload_bytes: int) -> float:
    """Return the energy of every connection event that a message takes part in (`full`)."""
    events = schedule(ble, fragment(ble, payload_bytes))
    return ble.voltage.si * sum(event_charge_c(ble, packets) for packets in events)


def marginal_energy_j(ble: BleLink, payload_bytes: int) -> float:
    """Return what a message adds to the idle link: `full` less the events that happen anyway."""
    events = schedule(ble, fragment(ble, payload_bytes))
    # An idle peripheral listens at one event in 1 + latency.
    anyway = len(events) / (1 + ble.peripheral_latency)
    idle_j = ble.voltage.si * anyway * event_charge_c(ble, (0,))
    return message_energy_j(ble, payload_bytes) - idle_j


def message_time_s(ble: BleLink, payload_bytes: int) -> float:
    """Return the mean time until a message's last acknowledgement.

    A message waits half an interval for its first event on average, then an interval for each
    further event; the last event counts with its air time.
    """
    events = schedule(ble, fragment(ble, payload_bytes))
    if not events:
        return 0.0
    last_s = sum(_exchange_s(ble, packet) for packet in events[-1])
    return (len(events) - 0.5) * ble.interval_s + last_s


def idle_power_w(ble: BleLink) -> float:
    """Return the power of keeping the connection with nothing to send."""
    # P = V (Q_empty / (interval (1 + latency)) + I_sleep), the events' time counted as sleep too.
    period_s = ble.interval_s * (1 + ble.peripheral_latency)
    return ble.voltage.si * (event_charge_c(ble, (0,)) / period_s + ble.sleep.si)


def _exchange_s(ble: BleLink, packet: int) -> float:
    # The central's packet, T_IFS, the peripheral's packet, T_IFS: one slot of a connection event.
    return air_time_s(ble, 0) + INTER_FRAME_S + air_time_s(ble, packet) + INTER_FRAME_S
