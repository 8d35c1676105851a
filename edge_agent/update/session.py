"""The updates of one run, from its beginning to its end: what `run` sees of them."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edge_agent.config import Config
from edge_agent.loaded import Loaded
from edge_agent.meter import ProfileMeter
from edge_agent.ran import record_ran
from edge_agent.running import Running
from edge_agent.spool import Spool
from edge_agent.spool_bundles import Bundles
from edge_agent.spool_commit import Committer
from edge_agent.trust import open_trust
from edge_agent.update.begin import Beginning, begin, configured_as
from edge_agent.update.follower import Follower
from edge_agent.update.hangar import Hangar
from edge_agent.update.referee import Limits, Referee, allowed_head_s
from edge_agent.update.rotation import Rotation
from edge_agent.update.shadow import Shadows
from edge_agent.update.store import FOLDER, Store
from edge_agent.update.tallies import Tallies
from edge_agent.update.updater import Updater
from edge_agent.writer import Writer
from headtail.bundle import Bundle

if TYPE_CHECKING:
    from edge_agent.metrics import Metrics


class Updates:
    """Chooses what runs first, and then lets it be replaced."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Open the folder of updates in the folder of fetched bundles.

        Raises:
            ConfigError: If it cannot be used, or another agent uses it.
        """
        self._config = config
        self._store = Store(folder / FOLDER)
        self._beginning: Beginning | None = None
        self._updater: Updater | None = None
        self._follower: Follower | None = None
        self._shadows: Shadows | None = None
        self.tallies = Tallies()
        """What each bundle did; takes every result."""

    def load(
        self, read: Callable[[], tuple[Bundle, Path]], prepare: Callable[[Bundle], Loaded]
    ) -> Loaded:
        """Return what runs first, loaded.

        Args:
            read: Returns the configured bundle and its file.
            prepare: Loads a bundle.

        Raises:
            HeadtailError: If the configured bundle is not fit to run.
        """
        config = self._config
        trust = open_trust(config.trust, config.key)
        self._beginning = begin(self._store, configured_as(config, read), trust, prepare)
        trusted = self._beginning.before or self._beginning.loaded
        manifest = trusted.plan.manifest
        record_ran(self._store.folder.parent, manifest.name, manifest.version)
        return self._beginning.loaded

    def path(self, digest: str) -> Path:
        """Return the file of a bundle that runs."""
        return self._store.path(digest)

    def start(
        self,
        first: Running,
        writer: Writer,
        spool: Spool | None,
        copies: Bundles,
        metrics: "Metrics | None",
    ) -> Rotation:
        """Begin to follow directives; return what begins windows.

        Args:
            first: What runs first.
            writer: Of the run.
            spool: Where windows are kept, if they are.
            copies: Of bundles, beside the spool.
            metrics: Where there is a page.
        """
        config, beginning = self._config, self._beginning
        assert beginning is not None, "loaded before it is started"
        committer = first.keep if isinstance(first.keep, Committer) else None
        pages = [metrics] if metrics else []
        hangar = Hangar(config, first.agent, spool, committer, copies, pages)
        hangar.opened.extend([first] if first.link else [])
        before = beginning.before
        trusted = first if before is None else hangar.prepare(before)
        rotation = Rotation(trusted, writer, config.batch)
        rotation.count_failed = self.tallies.failed
        if before is not None:
            plan, before_s = first.loaded.plan, beginning.before_s
            profile, ratio = config.device_profile, config.update_slow_ratio
            limit_s = allowed_head_s(before.plan, before_s, plan, profile, ratio)
            hangar.keep_as(first, before, self._store.path(before.digest))
            # Its own windows too, once it takes over.
            hangar.keep_as(trusted, None, self._store.path(before.digest))
            rotation.begin_trial(first, Referee(Limits(config.update_windows, limit_s)))
        self._updater = Updater(self._store, hangar, rotation, config)
        profile = first.meter.device.name if isinstance(first.meter, ProfileMeter) else ""
        self._shadows = Shadows(self._store, config, self.tallies.compared)
        rotation.answered = self._shadows.queue.offer
        self._follower = Follower(config, self._updater, self._shadows, self.tallies, profile)
        if metrics:
            self._follower.observe = metrics.watch_round_trips()
        self._updater.start(self._follower)
        self._shadows.start(self._follower)
        self._follower.start()
        if before is not None:
            self._follower.report(self._updater.trial_report())
        if metrics:
            from edge_agent.update.update_metrics import UpdateCollector

            metrics.watch_updates(
                rotation.name_active, UpdateCollector(self._updater, self._shadows)
            )
        return rotation

    def __enter__(self) -> "Updates":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the updates; no window is under way any more."""
        if self._follower is not None:
            self._follower.close()
        if self._updater is not None:
            self._updater.close(is_orderly=kind is None)
        if self._shadows is not None:
            self._shadows.close()

    def close(self) -> None:
        """Let another agent have the folder."""
        self._store.close()
