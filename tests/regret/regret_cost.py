"""What a window has cost: the agent's price functions applied to observed times and bytes."""

from dataclasses import dataclass

import msgspec

from headtail.cost_model import CpuTime, PowerTime
from headtail.energy import predict_cpu_j, predict_transmission
from headtail.profile import DeviceProfile, LinkProfile

PlanKey = tuple[int, str, str]
"""Partition point, encoding, compression."""
OBJECTIVES = ("latency", "edge_energy")


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
    """Of its plan; 0 where nothing was sent."""
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
        """Return the edge's energy for a window: its CPU time, and its radio until the answer.

        The radio's is `headtail.energy.predict_transmission` with the time that passed from the
        head's end to the answer in the place of the time that the link's profile predicts.
        """
        cpu, radio = self.device.model, self.link.model
        assert isinstance(cpu, CpuTime)
        assert isinstance(radio, PowerTime)
        cpu_s = window.head_s + (window.tail_s if window.where == "edge" else 0.0)
        joules = predict_cpu_j(cpu, cpu_s)
        if window.tx_bytes:
            sent = predict_transmission(self.link, min(window.payload_bytes, window.tx_bytes))
            waited_s = window.latency_s - cpu_s
            joules += sent.joules + radio.receive_power.si * (waited_s - sent.seconds)
        return joules

    def cost(self, window: Window, objective: str) -> float:
        """Return a window's seconds or joules, as the objective has it."""
        return window.latency_s if objective == "latency" else self.edge_j(window)
