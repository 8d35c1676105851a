"""The file of a bundle to compare answers with: one that is here already, or one fetched for it."""

import logging
import shutil
from collections.abc import Callable

from edge_agent.update.store import SUFFIX, Bounded, Store, Write, read_as
from headtail.bundle import Manifest
from headtail.bundle.keys import Trust
from headtail.errors import BundleError, ConfigError

log = logging.getLogger(__name__)

FOLDER = "shadow"


class ShadowFile:
    """One bundle at most; what was fetched for a comparison goes with it."""

    def __init__(self, store: Store) -> None:
        """Look for bundles in `store` first."""
        self._store = store
        self._folder = store.folder / FOLDER
        self.path = self._folder
        """Of the bundle obtained last."""

    def obtain(
        self, digest: str, fill: Callable[[Write], object], trust: Trust, max_bytes: int
    ) -> Manifest:
        """Have the file of a bundle at `path`, and return its manifest.

        Args:
            digest: Which.
            fill: Hands its bytes to the function that it is given, where it is not here; what it
                raises is passed on.
            trust: Whose signature is accepted.
            max_bytes: That a fetched one may have.

        Raises:
            BundleError: If it is not fit to be used, or another.
            ConfigError: If it cannot be written.
        """
        fetched = self._folder / f"{digest}{SUFFIX}"
        for path in (self._store.path(digest), fetched):
            # The updater may remove a bundle of its store at any time.
            if path.exists():
                try:
                    manifest = read_as(path, digest, trust).manifest
                except BundleError as error:
                    log.debug("fetching a bundle to compare with: %s", error)
                else:
                    self.path = path
                    return manifest
        self.clear()
        try:
            self._folder.mkdir()
            with fetched.open("wb") as file:
                fill(Bounded(file.write, max_bytes))
        except OSError as error:
            reason = f"cannot be written: {error.strerror or error}"
            raise ConfigError(str(fetched), reason) from error
        manifest = read_as(fetched, digest, trust).manifest
        self.path = fetched
        return manifest

    def clear(self) -> None:
        """Remove what was fetched."""
        shutil.rmtree(self._folder, ignore_errors=True)
