"""The control services put together: with a rollout where one is asked for."""

from pathlib import Path

import grpc
from prometheus_client import CollectorRegistry

from fog_server.activity import Activity
from fog_server.config import Config
from fog_server.control_servicer import ControlServicer
from fog_server.fleet import PlainFleet
from fog_server.repository import FolderRepository, KeptRepository, Repository
from fog_server.rollout.fleet import ManagedFleet, Source
from fog_server.rollout.servicer import RolloutsServicer
from fog_server.rollout.watchers import Watchers
from fog_server.store import BundleStore, load_store
from headtail.bundle.keys import read_trust
from headtail.errors import ConfigError
from headtail.segment import SessionOptions
from headtail.v1 import control_pb2, control_pb2_grpc

_SERVICES = control_pb2.DESCRIPTOR.services_by_name
CONTROL_SERVICES = (_SERVICES["Control"].full_name, _SERVICES["Rollouts"].full_name)

UNDER_ROLLOUT = (
    "bundles have states here, which decide what is served: publish, canary, promote, rollback and"
    " retire of `fog-server` change them"
)

OF_WORKERS = (
    "several processes serve on this port, and a call reaches one of them: change the folder and"
    " restart the server, or run it with --rollout"
)


class Control:
    """The bundles of a server, and who runs which; `store` is what is served."""

    def __init__(
        self, config: Config, options: SessionOptions, registry: CollectorRegistry
    ) -> None:
        """Load every bundle that is to be served.

        Raises:
            HeadtailError: If one cannot be.
        """
        folder, trust = (
            Path(config.bundles),
            read_trust(Path(config.trust) if config.trust else None),
        )
        self.watchers = Watchers(config.wire.max_agents)
        self._managed: ManagedFleet | None = None
        self.repository: Repository
        if not config.rollout.enabled:
            self.store = load_store(folder, trust, options, allow_older=config.allow_older)
            own = FolderRepository(
                self.store, folder, trust, options, allow_older=config.allow_older
            )
            own.notify = self.watchers.notify
            self.repository = own if config.workers == 1 else KeptRepository(self.store, OF_WORKERS)
            self._fleet: PlainFleet | ManagedFleet = PlainFleet(self.store, config.rollout.report_s)
            return
        if not folder.is_dir():
            raise ConfigError("bundles", f"'{folder}' is not a folder")
        self.store = BundleStore()
        self.repository = KeptRepository(self.store, UNDER_ROLLOUT)
        source = Source(folder, trust, options)
        self._managed = ManagedFleet(
            config.rollout, source, self.store, self.watchers.notify, registry
        )
        self._fleet = self._managed

    def add_to(self, server: grpc.Server, activity: Activity) -> None:
        """Let a server answer the control calls."""
        control_pb2_grpc.add_ControlServicer_to_server(
            ControlServicer(self.store, activity, self._fleet, self.watchers), server
        )
        control_pb2_grpc.add_RolloutsServicer_to_server(
            RolloutsServicer(self._managed, activity), server
        )

    def close(self) -> None:
        """End what runs by itself, and close the bundles' files."""
        self.watchers.close()
        if self._managed is not None:
            self._managed.close()
        self.store.close()
