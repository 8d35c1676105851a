"""A bundle that takes windows: its agent, and its own link to the fogs."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.agent import Agent
from edge_agent.config import Config
from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.guard import Keep
from edge_agent.lane import Outcome
from edge_agent.lanes import Policy
from edge_agent.link import FogLink
from edge_agent.link_counts import LinkCounts
from edge_agent.loaded import Loaded
from edge_agent.meter import EnergyMeter
from edge_agent.sources.frame import Frame
from headtail.tls import ClientTls, choose_files


@dataclass(slots=True, eq=False)
class Running:
    """A loaded bundle with all that it needs to take windows."""

    loaded: Loaded
    meter: EnergyMeter
    agent: Agent
    link: FogLink | None = None
    """None finishes every window here."""
    keep: Keep | None = None
    """None keeps no window on disk."""

    def begin(self, frames: Sequence[Frame]) -> None:
        """Begin windows for which there is room."""
        self.agent.begin(frames, self.link, self.keep)


def open_link(
    config: Config, loaded: Loaded, outcome: Outcome, counts: LinkCounts | None = None
) -> FogLink:
    """Begin to connect to the fogs for one bundle's tail.

    Args:
        config: Names the fogs, and how patient to be.
        loaded: Whose tail.
        outcome: Told what becomes of each request.
        counts: Where to go on counting; None: from zero.
    """
    plan, _, digest = loaded
    manifest = plan.manifest
    tail = Tail(plan.tail_name, manifest.version, plan.wire_specs, manifest.name, digest)
    tls = client_tls(config)
    clients = [
        FogClient(fog, tail, config.connect_s, tls, config.keepalive_s) for fog in config.fogs
    ]
    policy = Policy(
        config.reconnect_first_s, config.reconnect_cap_s, config.max_misses, config.dwell_s
    )
    rng = random.Random()  # noqa: S311 - spreads agents out; no secret
    link = FogLink(clients, outcome, policy, rng, time.monotonic)
    link.lanes.counts = counts or link.lanes.counts
    link.start()
    return link


def client_tls(config: Config) -> ClientTls | None:
    """Return the agent's TLS files, where they are named."""
    return choose_files(config.tls_ca, config.tls_cert, config.tls_key)
