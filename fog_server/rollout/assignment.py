"""Which agents run the canary: those whose hash lies in its share."""

import hashlib
from collections.abc import Sequence

from fog_server.rollout.state import Canary


def place(digest: str, agent: str) -> float:
    """Return where an agent lies in [0, 1) for a bundle; for another bundle it lies elsewhere."""
    hashed = hashlib.sha256(f"{digest}\0{agent}".encode()).digest()
    return int.from_bytes(hashed[:8]) / 2**64


def runs_canary(canary: Canary, agent: str) -> bool:
    """Return whether an agent is to run the canary.

    It depends on the agent's name and the bundle alone, so every server says the same, an agent
    that comes back runs what it ran, and a larger share keeps those of the smaller one.
    """
    in_share = place(canary.digest, agent) < canary.rules.share_ratio
    return in_share or agent in canary.volunteers


def volunteer(canary: Canary, agents: Sequence[str]) -> str | None:
    """Return whom to ask in, where the share is not 0 and nobody is in it; else None."""
    if not canary.rules.share_ratio or not agents:
        return None
    if any(runs_canary(canary, agent) for agent in agents):
        return None
    return min(agents, key=lambda agent: place(canary.digest, agent))
