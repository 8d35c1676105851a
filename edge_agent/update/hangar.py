"""Bundles are made ready here to take windows, and taken apart when they no longer do."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edge_agent.agent import Agent
from edge_agent.config import Config
from edge_agent.loaded import Loaded, load_bundle, warm_up
from edge_agent.meter import EnergyMeter, open_meter
from edge_agent.plan import Plan
from edge_agent.running import Running, open_link, open_partition
from edge_agent.sources.frame import Frame
from edge_agent.spool import Spool
from edge_agent.spool_bundles import Bundles
from edge_agent.spool_commit import Committer
from edge_agent.spool_entry import Packer
from edge_agent.update.directive import UpdateFailed
from edge_agent.update.referee import too_slow
from headtail.bundle import Bundle, Manifest
from headtail.errors import ConfigError
from headtail.fault import Fault
from headtail.segment import Tensors

IDLE_POLL_S = 0.02


class PlanKeep:
    """Keeps the windows of one plan in the run's spool."""

    def __init__(self, committer: Committer, packer: Packer) -> None:
        """Keep them as `packer` packs them."""
        self._committer = committer
        self._packer = packer

    def put(self, frames: Sequence[Frame], activation: Tensors, plan: Plan | None = None) -> None:
        """Take windows that went through the head together, under `plan` where that changes."""
        self._committer.put_under(self._packer, frames, activation, plan)

    def flush(self) -> None:
        """No more will come for now."""
        self._committer.flush()


class Page(Protocol):
    """The metrics, where there are any."""

    def add_bundle(self, plan: Plan, digest: str, meter: EnergyMeter) -> None:
        """Count the windows of another bundle too."""
        ...


@dataclass(frozen=True, slots=True)
class Hangar:
    """What every bundle of a run has in common."""

    config: Config
    agent: Agent
    """Any of the run's."""
    spool: Spool | None = None
    committer: Committer | None = None
    """Of the spool, where there is one."""
    copies: Bundles | None = None
    """Beside the spool."""
    pages: Sequence[Page] = ()
    opened: list[Running] = field(default_factory=list)
    """Whose links are open."""

    def load(self, bundle: Bundle, before: Manifest) -> tuple[Loaded, float]:
        """Load, self-test and warm up a bundle; return it and the least time of its head.

        Raises:
            UpdateFailed: If it does not suit this run.
            BundleError: If it is not fit to run.
        """
        check_suits(before, bundle.manifest)
        config = self.config
        try:
            is_live = config.partition == "live" and bool(config.fogs)
            plan = config.point, config.encoding
            loaded = load_bundle(bundle, plan, config.threads, is_live=is_live)
        except ConfigError as error:
            raise UpdateFailed(Fault.BUNDLE, str(error)) from error
        if not loaded.plan.is_local and not config.fogs:
            raise UpdateFailed(Fault.BUNDLE, "its tail needs a fog, and none is named")
        return loaded, warm_up(loaded, bundle)

    def open(self, loaded: Loaded, head_s: float, limit_s: float) -> Running:
        """Make a bundle ready to take windows, its link too.

        Args:
            loaded: The bundle.
            head_s: What its head took.
            limit_s: What it may take.

        Raises:
            UpdateFailed: If it is too slow, or no fog serves it.
        """
        if reason := too_slow(head_s, limit_s):
            raise UpdateFailed(Fault.SELF_TEST, reason)
        running = self.prepare(loaded)
        self.connect(running)
        if running.link is not None:
            running.link.wait_first_attempt(self.config.connect_s)
            if running.link.lanes.is_hopeless:
                self.release(running)
                raise UpdateFailed(Fault.LINK, "no fog serves it")
        return running

    def prepare(self, loaded: Loaded) -> Running:
        """Return a bundle ready to take windows, without a link.

        Raises:
            UpdateFailed: If its energy cannot be priced.
        """
        config = self.config
        try:
            manifest = loaded.plan.manifest
            meter = open_meter(manifest, config.device_profile, config.link_profile)
        except ConfigError as error:
            raise UpdateFailed(Fault.BUNDLE, str(error)) from error
        for page in self.pages:
            page.add_bundle(loaded.plan, loaded.digest, meter)
        agent = self.agent.other(loaded.chain, loaded.plan, meter, loaded.digest)
        agent.pilot = open_partition(config, loaded, meter)
        return Running(loaded, meter, agent)

    def connect(self, running: Running) -> None:
        """Open the link of a bundle, unless it is open or none is needed."""
        if running.link is not None or not running.loaded.needs_fog:
            return
        counts = next((r.link.lanes.counts for r in self.opened if r.link), None)
        running.link = open_link(self.config, running.loaded, running.agent, counts)
        self.opened.append(running)

    def keep_as(self, running: Running, before: Loaded | None, file: Path) -> None:
        """Have the spool keep the windows of a bundle.

        Args:
            running: The bundle.
            before: While it is on trial, the one before: should the program end, that one answers
                the windows that are kept, and for that it needs their inputs.
            file: Of the bundle whose digest the windows name.

        Raises:
            SpoolError: If no copy of the bundle can be kept.
        """
        if self.spool is None or self.committer is None or self.copies is None:
            return
        named = before or running.loaded
        in_use = {r.loaded.digest for r in self.opened}
        self.copies.keep(file, named.digest, self.spool.bundles() | in_use)
        packer = Packer(named.plan, named.digest, only_inputs=before is not None)
        running.keep = PlanKeep(self.committer, packer)

    def release(self, running: Running, wait: Callable[[float], bool] | None = None) -> None:
        """Close the link of a bundle that takes no more windows.

        Args:
            running: The bundle.
            wait: Sleeps for so many seconds, and returns True when the run is to stop: what is on
                its way has until its deadline. None: what is on its way fails.
        """
        link = running.link
        if link is None:
            return
        stop_s = time.monotonic() + self.config.deadline_s
        while wait is not None and running.agent.underway and time.monotonic() < stop_s:
            if wait(IDLE_POLL_S):
                break
        link.close()
        running.link = None
        with suppress(ValueError):
            self.opened.remove(running)

    def close(self) -> None:
        """Close every link."""
        for running in list(self.opened):
            self.release(running)


def check_suits(before: Manifest, after: Manifest) -> None:
    """Raise unless the windows of a run can go through another bundle, and mean the same.

    Raises:
        UpdateFailed: Naming what is another.
    """
    for what, is_same in (
        ("inputs", before.inputs == after.inputs),
        ("preprocess steps", before.preprocess == after.preprocess),
        ("labels", before.labels == after.labels),
    ):
        if not is_same:
            reason = f"it has other {what} than the one that runs; restart the agent with it"
            raise UpdateFailed(Fault.BUNDLE, reason)
