"""The bundle store: what is served, each bundle checked, loaded, tested and warm."""

import logging
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fog_server.tail import Tail, tail_ranges, tails, warm_up
from headtail.bundle import Bundle, Manifest, read_bundle
from headtail.bundle.installed import check_installed, newest_versions, record_installed
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import version_key
from headtail.errors import BundleUnreadable, ConfigError, ModelNotFound
from headtail.segment import Chain, SessionOptions

log = logging.getLogger(__name__)


class OpenFile:
    """A file that stays open as long as anybody holds on to this, or until it is closed."""

    def __init__(self, path: Path) -> None:
        """Open it to be read.

        Raises:
            BundleUnreadable: If it cannot be.
        """
        try:
            self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise BundleUnreadable(str(path), f"cannot be read: {error.strerror}") from error
        self.close = weakref.finalize(self, os.close, self.number)


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle that is served; its file stays open, so that replacing it changes nothing here."""

    manifest: Manifest
    digest: str
    size_bytes: int
    path: Path
    file: OpenFile

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes of the file; several threads may read at once."""
        return os.pread(self.file.number, size, offset)


class Loaded(NamedTuple):
    """A bundle and what it serves."""

    bundle: StoredBundle
    tails: Sequence[Tail]


class BundleStore:
    """Bundles and tails by name and version; several threads may use it at once."""

    def __init__(self, loaded: Iterable[Loaded] = ()) -> None:
        """Serve what was loaded; no (name, version) may come twice."""
        self.loaded: Sequence[Loaded] = ()
        self._tails: dict[tuple[str, str], Tail] = {}
        self._versions: dict[str, list[str]] = {}
        self._preferred: Mapping[str, str] = {}
        self.refresh: Callable[[], None] = lambda: None
        """Called where something is not served, before another look."""
        self.changed: Callable[[], None] = lambda: None
        """Called when something else is served: what is known of the tails before is to go."""
        self.serve(loaded)

    def serve(self, loaded: Iterable[Loaded], preferred: Mapping[str, str] | None = None) -> None:
        """Serve these and nothing else from now on; who runs a tail meanwhile is not disturbed.

        Args:
            loaded: What to serve.
            preferred: Version that an empty one means, by bundle; the newest where none is named.

        Raises:
            ConfigError: If two serve the same model and version; nothing has changed then.
        """
        ordered = sorted(loaded, key=_by_version)
        check_owners(ordered)
        preferred = preferred or {}
        tails: dict[tuple[str, str], Tail] = {}
        versions: dict[str, list[str]] = {}
        for bundle, served in ordered:
            wanted = preferred.get(bundle.manifest.name)
            for tail in served:
                tails[tail.name, tail.version] = tail
                if wanted in (None, tail.version):
                    tails[tail.name, ""] = tail  # the newest comes last
                versions.setdefault(tail.name, []).append(tail.version)
        self._versions, self._preferred = versions, preferred
        self.loaded, self._tails = tuple(ordered), tails
        self.changed()

    @property
    def bundles(self) -> Sequence[StoredBundle]:
        """Every bundle, sorted by name, then version."""
        return [bundle for bundle, _ in self.loaded]

    def serves(self, tail: Tail) -> bool:
        """Return whether this very tail is served now."""
        return self._tails.get((tail.name, tail.version)) is tail

    def tail(self, name: str, version: str = "") -> Tail:
        """Return a served model; an empty version means the preferred, or the newest.

        Raises:
            ModelNotFound: If it is not served.
        """
        tail = self._tails.get((name, version))
        if tail is None:
            self.refresh()  # whatever it finds: another thread may just have served it
            tail = self._tails.get((name, version))
        if tail is None:
            raise ModelNotFound(name, version, sorted(self._versions))
        return tail

    def versions(self, name: str) -> Sequence[str]:
        """Return the versions of a served model, oldest first."""
        return self._versions.get(name, [])

    def bundle(self, name: str, version: str = "", digest: str = "") -> StoredBundle:
        """Return a bundle; a digest alone says which, an empty version means the preferred.

        Raises:
            ModelNotFound: If it is not here.
        """
        found = self._find(name, version, digest)
        if found is None:
            self.refresh()
            found = self._find(name, version, digest)
        if found is None:
            known = [f"{b.manifest.name} {b.manifest.version}" for b in self.bundles]
            raise ModelNotFound(name or digest[:12], version, known)
        return found

    def close(self) -> None:
        """Close the bundles' files."""
        for bundle in self.bundles:
            bundle.file.close()

    def _find(self, name: str, version: str, digest: str) -> StoredBundle | None:
        bundles = list(reversed(self.bundles))
        if digest:
            return next((b for b in bundles if b.digest == digest), None)
        version = version or self._preferred.get(name, "")
        return next(
            (b for b in bundles if b.manifest.name == name and version in ("", b.manifest.version)),
            None,
        )


def load_store(
    folder: Path, trust: Trust, options: SessionOptions, *, allow_older: bool = False
) -> BundleStore:
    """Load every `*.bundle` of a folder.

    Args:
        folder: Of bundles; it keeps the record of the newest version ever served.
        trust: Whose signature is accepted.
        options: How tails run.
        allow_older: Whether the newest version of a bundle here may be older than the record's.

    Raises:
        ConfigError: If the folder holds none, or two serve the same model and version.
        BundleError: If any bundle is not fit to be served.
    """
    if not folder.is_dir():
        raise ConfigError("bundles", f"'{folder}' is not a folder")
    paths = sorted(folder.glob("*.bundle"))
    if not paths:
        raise ConfigError("bundles", f"no *.bundle in '{folder}'")
    loaded = [load_bundle(path, trust, options) for path in paths]
    store = BundleStore(loaded)
    manifests = [bundle.manifest for bundle, _ in loaded]
    if not allow_older:
        for name, version in newest_versions(manifests).items():
            check_installed(folder, f"{name} in {folder}", name, version)
    record_installed(folder, manifests, is_forced=allow_older)
    return store


def _by_version(loaded: Loaded) -> tuple[str, tuple[int, ...]]:
    manifest = loaded.bundle.manifest
    return manifest.name, version_key(manifest.version)


def check_owners(loaded: Iterable[Loaded]) -> None:
    """Raise where two bundles serve the same model and version.

    Raises:
        ConfigError: If they do.
    """
    owners: dict[tuple[str, str], Path] = {}
    for bundle, served in loaded:
        for tail in served:
            other = owners.setdefault((tail.name, tail.version), bundle.path)
            if other != bundle.path:
                raise ConfigError(
                    str(bundle.path),
                    f"serves '{tail.name}' version {tail.version}, as '{other}' does",
                )


def load_bundle(path: Path, trust: Trust, options: SessionOptions) -> Loaded:
    """Check, load, test and warm one bundle.

    Raises:
        BundleError: If it is not fit to be served.
    """
    file, bundle = _open(path, trust)
    chain = Chain(bundle, options)
    error = chain.self_test(bundle)
    manifest = bundle.manifest
    chain.merge(bundle, tail_ranges(manifest))
    warm_up(bundle, chain, options.warm_batches)
    log.info(
        "loaded %s: %s %s (%s), %d segments, self-test error %.1e",
        path.name, manifest.name, manifest.version, bundle.digest[:12], len(bundle.segments), error,
    )  # fmt: skip
    stored = StoredBundle(manifest, bundle.digest, bundle.size_bytes, path, file)
    return Loaded(stored, tails(manifest, chain))


def _open(path: Path, trust: Trust) -> tuple[OpenFile, Bundle]:
    """Return a bundle and the file it was read from."""
    file = OpenFile(path)
    bundle = read_bundle(path, trust)
    try:
        is_same = os.path.samestat(os.fstat(file.number), path.stat())
    except OSError as error:
        raise BundleUnreadable(str(path), f"cannot be read: {error.strerror}") from error
    if not is_same:
        raise BundleUnreadable(str(path), "was replaced while it was read")
    return file, bundle
