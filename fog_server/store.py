"""The bundle store: every bundle of a folder, checked, loaded, tested and warm, or none."""

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fog_server.tail import Tail, tail_ranges, tails
from headtail.bundle import Bundle, Manifest, read_bundle
from headtail.bundle.installed import check_installed, newest_versions, record_installed
from headtail.bundle.keys import Trust
from headtail.bundle.manifest import version_key
from headtail.errors import BundleUnreadable, ConfigError, ModelNotFound
from headtail.segment import Chain, SessionOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle that is served; its file stays open, so that replacing it changes nothing here."""

    manifest: Manifest
    digest: str
    size_bytes: int
    path: Path
    file: int
    """Open descriptor of the bundle's file."""

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes of the file; several threads may read at once."""
        return os.pread(self.file, size, offset)


class BundleStore:
    """Bundles and tails by name and version."""

    def __init__(self, bundles: Sequence[StoredBundle], served: Sequence[Tail]) -> None:
        """Index what was loaded; no (name, version) may come twice."""
        self.bundles = tuple(
            sorted(bundles, key=lambda b: (b.manifest.name, version_key(b.manifest.version)))
        )
        self._tails: dict[tuple[str, str], Tail] = {}
        self._versions: dict[str, list[str]] = {}
        for tail in sorted(served, key=lambda t: version_key(t.version)):
            self._tails[tail.name, tail.version] = tail
            self._tails[tail.name, ""] = tail  # the newest comes last
            self._versions.setdefault(tail.name, []).append(tail.version)

    def tail(self, name: str, version: str = "") -> Tail:
        """Return a served model; an empty version means the newest.

        Raises:
            ModelNotFound: If it is not served.
        """
        tail = self._tails.get((name, version))
        if tail is None:
            raise ModelNotFound(name, version, sorted(self._versions))
        return tail

    def versions(self, name: str) -> Sequence[str]:
        """Return the versions of a served model, oldest first."""
        return self._versions.get(name, [])

    def bundle(self, name: str, version: str = "") -> StoredBundle:
        """Return a bundle; an empty version means the newest.

        Raises:
            ModelNotFound: If it is not here.
        """
        for bundle in reversed(self.bundles):
            if bundle.manifest.name == name and version in ("", bundle.manifest.version):
                return bundle
        known = [f"{b.manifest.name} {b.manifest.version}" for b in self.bundles]
        raise ModelNotFound(name, version, known)

    def close(self) -> None:
        """Close the bundles' files."""
        for bundle in self.bundles:
            os.close(bundle.file)


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
    with ExitStack() as opened:
        loaded = [_load(path, trust, options, opened) for path in paths]
        _check_owners(loaded)
        manifests = [bundle.manifest for bundle, _ in loaded]
        if not allow_older:
            for name, version in newest_versions(manifests).items():
                check_installed(folder, f"{name} in {folder}", name, version)
        record_installed(folder, manifests, is_forced=allow_older)
        opened.pop_all()
    return BundleStore([b for b, _ in loaded], [t for _, served in loaded for t in served])


def _check_owners(loaded: Sequence[tuple[StoredBundle, Sequence[Tail]]]) -> None:
    owners: dict[tuple[str, str], Path] = {}
    for bundle, served in loaded:
        for tail in served:
            other = owners.setdefault((tail.name, tail.version), bundle.path)
            if other != bundle.path:
                raise ConfigError(
                    str(bundle.path),
                    f"serves '{tail.name}' version {tail.version}, as '{other}' does",
                )


def _load(
    path: Path, trust: Trust, options: SessionOptions, opened: ExitStack
) -> tuple[StoredBundle, Sequence[Tail]]:
    file, bundle = _open(path, trust, opened)
    chain = Chain(bundle, options)
    error = chain.self_test(bundle)
    _warm_up(bundle, chain)
    manifest = bundle.manifest
    chain.merge(bundle, tail_ranges(manifest))
    log.info(
        "loaded %s: %s %s (%s), %d segments, self-test error %.1e",
        path.name, manifest.name, manifest.version, bundle.digest[:12], len(bundle.segments), error,
    )  # fmt: skip
    stored = StoredBundle(manifest, bundle.digest, bundle.size_bytes, path, file)
    return stored, tails(manifest, chain)


def _open(path: Path, trust: Trust, opened: ExitStack) -> tuple[int, Bundle]:
    """Return a bundle and the file it was read from, which `opened` closes if loading fails."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, file)
        bundle = read_bundle(path, trust)
        is_same = os.path.samestat(os.fstat(file), path.stat())
    except OSError as error:
        raise BundleUnreadable(str(path), f"cannot be read: {error.strerror}") from error
    if not is_same:
        raise BundleUnreadable(str(path), "was replaced while it was read")
    return file, bundle


def _warm_up(bundle: Bundle, chain: Chain) -> None:
    """Run one window through every segment: the self-test ran them with another batch."""
    first = slice(1) if bundle.manifest.is_batchable else slice(None)
    one = {name: array[first] for name, array in bundle.samples.inputs.items()}
    chain.tail(one, 0)
