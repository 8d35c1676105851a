"""The model repository in Triton's words: what could be served, what is, and changing that.

The repository is the folder of bundles. A bundle is loaded and unloaded whole, with all its tails.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from fog_server.store import BundleStore, Loaded, load_bundle
from headtail.bundle.archive import read_manifest
from headtail.bundle.installed import check_installed, newest_versions, record_installed
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import Manifest, digest
from headtail.errors import BundleError, ModelNotFound, WrongState
from headtail.segment import SessionOptions

log = logging.getLogger(__name__)


class State(StrEnum):
    """Whether a model is served, in Triton's words."""

    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"


class IndexEntry(NamedTuple):
    """One model of the repository."""

    name: str
    version: str
    state: State
    reason: str = ""
    """Why it is not served."""


class Repository(Protocol):
    """What is behind the calls about the repository; several threads may use it at once."""

    def index(self) -> Sequence[IndexEntry]:
        """Return every model, sorted by name, served ones first."""

    def load(self, name: str) -> None:
        """Serve under a bundle's name what the repository holds under it, and nothing else."""

    def unload(self, name: str) -> None:
        """Serve nothing under a bundle's name."""


class FolderRepository:
    """A folder of bundles that nobody else keeps."""

    def __init__(
        self,
        store: BundleStore,
        folder: Path,
        trust: Trust,
        options: SessionOptions,
        *,
        allow_older: bool,
    ) -> None:
        """Change what `store` serves.

        Args:
            store: What is served.
            folder: Of bundles, with the record of the newest version ever served.
            trust: Whose signature is accepted.
            options: How tails run.
            allow_older: Whether a bundle may be older than the record's.
        """
        self._store = store
        self._folder = folder
        self._trust = trust
        self._options = options
        self._allow_older = allow_older
        self._lock = threading.Lock()  # one change at a time: each starts from the one before
        self.notify: Callable[[], None] = lambda: None
        """Called when agents may have to be told something else."""

    def index(self) -> Sequence[IndexEntry]:
        """Return what is served, then what lies in the folder and is not."""
        served = served_entries(self._store)
        names = {(entry.name, entry.version) for entry in served}
        idle = []
        for path, found in self._manifests():
            if isinstance(found, BundleError):
                idle.append(IndexEntry(path.stem, "", State.UNAVAILABLE, str(found)))
            elif (found.name, found.version) not in names:
                entry = IndexEntry(found.name, found.version, State.UNAVAILABLE, "not loaded")
                idle.append(entry)
        return [*served, *sorted(idle)]

    def load(self, name: str) -> None:
        """Serve what the folder holds under a bundle's name; what is served already stays as it is.

        Raises:
            ModelNotFound: If the folder holds no such bundle.
            WrongState: If it is the name of a tail.
            BundleError: If one of that name is not fit to be served; nothing has changed then.
            ConfigError: If two are of one version; nothing has changed then.
        """
        with self._lock:
            fresh = [self._loaded(*found) for found in self._found(name)]
            manifests = [loaded.bundle.manifest for loaded in fresh]
            if not self._allow_older:
                newest = newest_versions(manifests)[name]
                check_installed(self._folder, f"{name} in {self._folder}", name, newest)
            self._store.serve([*self._others(name), *fresh])
            record_installed(self._folder, manifests, is_forced=self._allow_older)
        log.info("serving %s %s", name, ", ".join(m.version for m in manifests))
        self.notify()

    def unload(self, name: str) -> None:
        """Serve no version of a bundle any more; requests that run are still answered.

        Raises:
            ModelNotFound: If it is not served.
            WrongState: If it is the name of a tail.
        """
        with self._lock:
            others = self._others(name)
            if len(others) == len(self._store.loaded):
                self._check_whole(name)
                raise ModelNotFound(name, "", sorted(b.manifest.name for b in self._store.bundles))
            self._store.serve(others)
        log.info("serving %s no more", name)
        self.notify()

    def _others(self, name: str) -> list[Loaded]:
        return [loaded for loaded in self._store.loaded if loaded.bundle.manifest.name != name]

    def _found(self, name: str) -> list[tuple[Path, Manifest]]:
        """Return the files of a bundle's name."""
        found = list(self._manifests())
        named = [(p, m) for p, m in found if isinstance(m, Manifest) and m.name == name]
        if named:
            return named
        self._check_whole(name)
        for path, error in found:  # a damaged file is what was meant, perhaps
            if isinstance(error, BundleError) and path.name.startswith(f"{name}-"):
                raise error
        raise ModelNotFound(name, "", sorted({m.name for _, m in found if isinstance(m, Manifest)}))

    def _manifests(self) -> Iterator[tuple[Path, Manifest | BundleError]]:
        for path in sorted(self._folder.glob("*.bundle")):
            try:
                yield path, read_manifest(path, self._trust)
            except BundleError as error:
                yield path, error

    def _loaded(self, path: Path, manifest: Manifest) -> Loaded:
        """Return a bundle as it is served already, or load it."""
        wanted = path, digest(manifest)
        for loaded in self._store.loaded:
            if wanted == (loaded.bundle.path, loaded.bundle.digest):
                return loaded
        return load_bundle(path, self._trust, self._options)

    def _check_whole(self, name: str) -> None:
        """Raise where a name is a tail's."""
        for bundle, tails in self._store.loaded:
            if name in {tail.name for tail in tails}:
                whole = bundle.manifest.name
                raise WrongState(
                    f"model '{name}'", f"a tail goes with its bundle: ask for '{whole}'"
                )


class KeptRepository:
    """A repository whose models are loaded and unloaded by something else."""

    def __init__(self, store: BundleStore, reason: str) -> None:
        """List what `store` serves; `reason` says who changes it, and how to ask for that."""
        self._store = store
        self._reason = reason

    def index(self) -> Sequence[IndexEntry]:
        """Return what is served."""
        return served_entries(self._store)

    def load(self, name: str) -> None:
        """Refuse.

        Raises:
            WrongState: Always.
        """
        raise WrongState(f"model '{name}'", self._reason)

    def unload(self, name: str) -> None:
        """Refuse.

        Raises:
            WrongState: Always.
        """
        raise WrongState(f"model '{name}'", self._reason)


def served_entries(store: BundleStore) -> list[IndexEntry]:
    """Return every model that is served, in each of its versions."""
    tails = [tail for _, served in store.loaded for tail in served]
    return sorted(
        (IndexEntry(tail.name, tail.version, State.READY) for tail in tails),
        key=lambda entry: entry.name,
    )
