"""A bundle that takes windows: its agent, and its own link to the fogs."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:  # imported only where plans are chosen
    from edge_agent.partition.live import LivePartition


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
    # Where plans change, any that sends will do to find out whether the fog is the right one.
    sending = [o.plan for o in loaded.options if not o.plan.is_local]
    plan = sending[0] if loaded.plan.is_local and sending else loaded.plan
    manifest = plan.manifest
    tail = Tail(plan.tail_name, manifest.version, plan.wire_specs, manifest.name, loaded.digest)
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
    if isinstance(outcome, Agent) and outcome.pilot is not None:
        outcome.pilot.follow(link)
    return link


def open_partition(config: Config, loaded: Loaded, meter: EnergyMeter) -> "LivePartition | None":
    """Return what chooses a bundle's plans while it runs; None where there is one plan.

    Raises:
        ConfigError: If the objective needs energies, and nothing prices them.
    """
    if not loaded.options:
        return None
    from edge_agent.partition.choose import Calm, Objective
    from edge_agent.partition.live import LivePartition, LiveSettings

    objective = Objective(
        config.partition_objective,
        config.partition_latency_weight,
        config.partition_max_latency_s or math.inf,
        config.partition_max_energy_j or math.inf,
        config.deadline_s,
    )
    objective.check(meter)
    calm = Calm(config.partition_margin, config.partition_dwell_s)
    room = loaded.plan.batch(config.batch) * config.in_flight
    settings = LiveSettings(
        objective=objective, calm=calm, probe_s=config.partition_probe_s, room=room
    )
    return LivePartition(loaded.options, loaded.plan, meter, settings)


def find_partition(agent: Agent) -> "LivePartition | None":
    """Return what chooses an agent's plans, where there is a choice."""
    if agent.pilot is None:
        return None
    from edge_agent.partition.live import LivePartition

    return agent.pilot if isinstance(agent.pilot, LivePartition) else None


def client_tls(config: Config) -> ClientTls | None:
    """Return the agent's TLS files, where they are named."""
    return choose_files(config.tls_ca, config.tls_cert, config.tls_key)
