"""What a window has cost: the agent's price functions applied to observed times and bytes."""

from dataclasses import dataclass

import msgspec

from headtail.constant import Constant
from headtail.cost_model import CpuTime, PowerTime
from headtail.energy import predict_cpu_j, predict_transmission
from headtail.profile import DeviceProfile, LinkProfile

PlanKey = tuple[int, str, str]
"""Partition point, encoding, compression."""
OBJECTIVES = ("latency", "edge_energy")
LEAST_CALL_BYTES = 50
"""Less is HTTP/2's own: acknowledgements, window updates, pings. An empty call has 58."""
FRAMING_BYTES = 40
"""Of a message on an open stream."""


class Window(msgspec.Struct, frozen=True):
    """One window as it was observed; times in seconds."""

    began_s: float
    """Its arrival, on the link's time."""
    sequence: int
    plan: PlanKey
    where: str
    latency_s: float
    head_s: float
    tail_s: float
    tx_bytes: int
    payload_bytes: int
    """Of its plan, before any compression."""
    carried_bytes: int = 0
    """That the uplink carried in its time, whatever they were."""
    carried_s: float = 0.0
    """For which the uplink was busy with them."""
    network_s: float | None = None
    queue_s: float | None = None
    predicted_s: float | None = None
    """Latency as the agent predicted it; None where the plan was fixed."""
    predicted_j: float | None = None
    fallback: str | None = None
    is_right: bool = True
    """Whether its outputs are the whole model's, as well as its encoding allows."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The profiles that price what was observed."""

    device: DeviceProfile
    link: LinkProfile

    def edge_j(self, window: Window) -> float:
        """Return the edge's energy for a window: its CPU time, and what was sent meanwhile.

        Sending is priced by the link's profile with the throughput that the uplink really gave.
        """
        cpu = self.device.model
        assert isinstance(cpu, CpuTime)
        cpu_s = window.head_s + (window.tail_s if window.where == "edge" else 0.0)
        joules = predict_cpu_j(cpu, cpu_s)
        if window.carried_bytes < LEAST_CALL_BYTES:
            return joules
        radio = self.link.model
        assert isinstance(radio, PowerTime)
        link = self._at_rate(radio, 8.0 * window.carried_bytes / window.carried_s)
        message = min(window.payload_bytes, window.tx_bytes)
        joules += predict_transmission(link, message).joules
        own = window.tx_bytes + FRAMING_BYTES if window.tx_bytes else 0
        if (probe := window.carried_bytes - own) >= LEAST_CALL_BYTES:
            joules += predict_transmission(_bare(link), probe).joules
        return joules

    def _at_rate(self, radio: PowerTime, bits_per_s: float) -> LinkProfile:
        """Return the link with the throughput that was observed, up to its radio's rate."""
        value = min(bits_per_s, radio.phy_rate.si)
        seen = Constant(value=value, unit="bit/s", kind="measured", source="the shaping proxy")
        model = msgspec.structs.replace(radio, throughput=seen)
        return msgspec.structs.replace(self.link, model=model)

    def cost(self, window: Window, objective: str) -> float:
        """Return a window's seconds or joules, as the objective has it."""
        return window.latency_s if objective == "latency" else self.edge_j(window)


def _bare(link: LinkProfile) -> LinkProfile:
    """Return a link that adds packets' headers alone: a probe's own are among its bytes."""
    assert isinstance(link.model, PowerTime)
    nothing = msgspec.structs.replace(link.model.message_overhead, value=0.0)
    model = msgspec.structs.replace(link.model, message_overhead=nothing)
    return msgspec.structs.replace(link, model=model)
