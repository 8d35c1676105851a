"""A fleet with a rollout: the parts put together, as the services see them."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from fog_server.config import Rollout as Settings
from fog_server.fleet import plain_info
from fog_server.rollout.agents import Agents
from fog_server.rollout.database import Database
from fog_server.rollout.folder import adopt
from fog_server.rollout.follower import Follower
from fog_server.rollout.keeper import Keeper
from fog_server.rollout.measurements import Agent
from fog_server.rollout.messages import (
    directive_message,
    info,
    read_report,
    rollout_message,
)
from fog_server.rollout.metrics import RolloutMetrics
from fog_server.rollout.rollouts import Rollouts
from fog_server.rollout.shadow import Shadows
from fog_server.rollout.state import Model
from fog_server.rollout.vault import FOLDER, Vault
from fog_server.store import BundleStore, StoredBundle, load_bundle
from headtail.bundle.keys import Trust
from headtail.errors import ModelNotFound
from headtail.segment import SessionOptions
from headtail.v1 import control_pb2 as pb

log = logging.getLogger(__name__)


class Source(NamedTuple):
    """Where bundles come from, whose are taken, and how they run."""

    folder: Path
    trust: Trust
    options: SessionOptions


class ManagedFleet:
    """What agents are told where bundles have states, and everything that keeps those."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        store: BundleStore,
        notify: Callable[[], None],
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take up what the folder holds and serve it.

        Args:
            settings: Section `rollout` of the configuration.
            source: Of bundles.
            store: Kept up to date with what is to be served.
            notify: Called when an agent may have to be told something else.
            registry: For the metrics.
            clock: Unix time, in seconds.

        Raises:
            HeadtailError: If that cannot be done.
        """
        self.settings = settings
        folder, trust, options = source
        self._notify = notify
        with ExitStack() as resources:
            self._database = Database(folder / FOLDER / "rollout.db")
            resources.callback(self._database.close)
            adopt(folder, self._database, trust, clock)
            self.metrics = RolloutMetrics(registry)
            shadows = Shadows(self.metrics.dropped)
            resources.callback(shadows.close)
            follower = Follower(
                store,
                self._database,
                folder,
                lambda path: load_bundle(path, trust, options),
                shadows.offer,
            )
            vault = Vault(folder, settings.max_bundle_bytes, settings.max_store_bytes)
            self.agents = Agents(self._database, settings.lost_s, clock)
            self.rollouts = Rollouts(self._database, vault, follower, trust, options, clock)
            parts = (self._database, vault, follower, self.agents, self.rollouts)
            self.keeper = Keeper(settings, parts, self.tell, self.metrics.judged, clock)
            self.keeper.start()
            resources.callback(self.keeper.close)
            self._resources = resources.pop_all()

    def directive(self, name: str, agent: str) -> pb.Directive:
        """Return what an agent should run.

        Raises:
            ModelNotFound: If no bundle of that name is active.
        """
        return directive_message(self.agents.directive(name, agent), self.settings.report_s)

    def report(self, status: pb.AgentStatus, agent: str) -> None:
        """Take what an agent says.

        Raises:
            RequestInvalid: If it says what cannot be.
        """
        self.agents.report(read_report(status, agent))

    def info(self, bundle: StoredBundle) -> pb.BundleInfo:
        """Return what a bundle is and where it stands."""
        model = self._database.models().get(bundle.manifest.name)
        entry = model.entry(bundle.digest) if model else None
        return info(model, entry) if model and entry else plain_info(bundle)

    def tell(self) -> None:
        """Let agents and metrics know of changes."""
        models = self.rollouts.models()
        running = {name: [a.report.digest for a in self.agents.known(name)] for name in models}
        self.metrics.show(models, running)
        self._notify()

    def view(self, name: str, *, with_agents: bool) -> Sequence[pb.Rollout]:
        """Return one model, or all where no name is given.

        Raises:
            ModelNotFound: If there is no such model.
        """
        models = self.rollouts.models()
        if name and name not in models:
            raise ModelNotFound(name, "", sorted(models))
        chosen = [models[name]] if name else list(models.values())
        return [self.show(model, with_agents=with_agents) for model in chosen]

    def show(self, model: Model, *, with_agents: bool = False) -> pb.Rollout:
        """Return one model as a message."""
        self.agents.flush()
        agents: Sequence[Agent] = self.agents.known(model.name)
        judgement = self.keeper.judgement(model)
        return rollout_message(model, agents, judgement, with_agents=with_agents)

    def running(self, name: str, digest: str) -> int:
        """Return how many agents heard of lately run a bundle."""
        self.agents.flush()
        return sum(agent.report.digest == digest for agent in self.agents.known(name))

    def close(self) -> None:
        """End the threads; what was reported is written."""
        self._resources.close()
