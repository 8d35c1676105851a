"""One attempt to put another bundle in the place of the one that runs, up to the switch."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edge_agent.config import Config
from edge_agent.ran import check_ran
from edge_agent.running import Running, client_tls
from edge_agent.trust import open_trust
from edge_agent.update.directive import Directive, Report, Stage, Superior, UpdateFailed
from edge_agent.update.hangar import Hangar, check_suits
from edge_agent.update.referee import allowed_head_s
from edge_agent.update.rehearsal import rehearse
from edge_agent.update.rotation import Rotation
from edge_agent.update.state import MAX_STARTS, Kept, loading, switched
from edge_agent.update.store import Store
from headtail.bundle import Bundle, Manifest
from headtail.bundle.installed import check_installed
from headtail.bundle.manifest import version_key
from headtail.errors import (
    BundleError,
    BundleOutdated,
    ConfigError,
    HeadtailError,
    RemoteError,
    SelfTestFailed,
    SpoolError,
)
from headtail.fault import Fault

log = logging.getLogger(__name__)

Step = Callable[[str], None]
Wait = Callable[[float], bool]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The steps, in their order; each raises where the attempt ends."""

    directive: Directive
    config: Config
    store: Store
    hangar: Hangar
    rotation: Rotation
    superior: Superior
    step: Step
    """Told the name of each step before it is made."""
    wait: Wait
    """Sleeps for so many seconds; returns True when the run is to stop."""

    def run(self) -> tuple[Running, float]:
        """Make every step but the switch itself; return the bundle, and what its head may take.

        The state on the disk then says that it runs, on trial.

        Raises:
            HeadtailError: Why not; then nothing has changed.
        """
        bundle = self._obtain()
        self._test(bundle)
        return self._load(bundle)

    def _obtain(self) -> Bundle:
        """Return the bundle, from the folder or fetched into it."""
        self.step("fetch")
        directive, limit = self.directive, self.config.update_max_bytes
        trust = open_trust(self.config.trust, self.config.key)
        self.superior.report(Report(directive, Stage.FETCHING))
        if directive.size_bytes > limit:
            reason = f"{directive.size_bytes} bytes; --update-max-bytes allows {limit}"
            raise UpdateFailed(Fault.STORAGE, reason)
        if self.store.has(directive.digest):
            try:
                return self.store.read(directive.digest, trust)
            except BundleError as error:
                log.warning("fetching again: %s", error)
        fill = partial(self.superior.fetch, directive)
        return self.store.add(directive.digest, fill, trust, limit)

    def _test(self, bundle: Bundle) -> None:
        """Check all that can be checked without taking the bundle into this process."""
        self.step("test")
        self.superior.report(Report(self.directive, Stage.TESTING))
        config, manifest = self.config, bundle.manifest
        if (manifest.name, manifest.version) != (self.directive.name, self.directive.version):
            received = f"received {manifest.name} {manifest.version}"
            raise UpdateFailed(Fault.BUNDLE, f"expected {self.directive}, {received}")
        self._check_version(manifest)
        check_suits(self.rotation.trusted.loaded.plan.manifest, manifest)
        settings = (config.trust, config.key, config.point, config.encoding, str(config.threads))
        rehearse(self.store.path(bundle.digest), settings, self.wait)

    def _check_version(self, manifest: Manifest) -> None:
        """Raise where a bundle is older than it may be.

        A signature does not age: whoever can play the fog must not bring back what was withdrawn.
        On purpose one may go back, but not behind what was named by hand, nor, where the fog has
        not proved who it is, behind what it gave first, nor else behind what ran here.
        """
        state, name, version = self.store.known, manifest.name, manifest.version
        if state.previous is not None and state.previous.digest == self.directive.digest:
            return
        config = self.config
        is_named = bool(config.bundle or config.model_version)
        floors = [state.origin] if is_named or client_tls(config) is None else []
        folder, where = self.store.folder.parent, f"{self.directive}"
        if not self.directive.is_rollback:
            floors.append(state.current)
            check_installed(folder, where, name, version)
        elif not floors:
            check_ran(folder, where, name, version)
        for floor in floors:
            if floor.name == name and version_key(version) < version_key(floor.version):
                raise BundleOutdated(where, f"{name} {floor.version}", f"{name} {version}")

    def _load(self, bundle: Bundle) -> tuple[Running, float]:
        """Take the bundle into this process; the disk then says that it runs, on trial."""
        self.step("load")
        state = loading(self.store.known, bundle.digest)
        assert state.loading is not None, "just set"
        if state.loading.count > MAX_STARTS:
            reason = f"the program ended {MAX_STARTS} times while it was loaded"
            raise UpdateFailed(Fault.SELF_TEST, reason)
        self.store.save(state)
        trusted = self.rotation.trusted.loaded
        made, head_s = self.hangar.load(bundle, trusted.plan.manifest)
        ratio, profile = self.config.update_slow_ratio, self.config.device_profile
        before_s = self.rotation.trusted_head_s
        limit_s = allowed_head_s(trusted.plan, before_s, made.plan, profile, ratio)
        running = self.hangar.open(made, head_s, limit_s)
        try:
            self.hangar.keep_as(running, trusted, self.store.path(trusted.digest))
            self.step("switch")
            kept = Kept(bundle.digest, bundle.manifest.name, bundle.manifest.version)
            self.store.save(switched(state, kept, self.directive.attempt))
        except BaseException:
            self.hangar.release(running)
            raise
        self.step("switched")
        return running, limit_s


def fault_of(error: HeadtailError | OSError) -> tuple[Fault, str]:
    """Return what an error says about a bundle."""
    fault = Fault.BUNDLE
    if isinstance(error, UpdateFailed):
        fault = error.fault
    elif isinstance(error, RemoteError):
        fault = Fault.LINK
    elif isinstance(error, SelfTestFailed):
        fault = Fault.SELF_TEST
    elif isinstance(error, ConfigError | SpoolError | OSError):
        fault = Fault.STORAGE
    return fault, str(error)
