"""The newest version of each bundle ever installed: an old one, though rightly signed, is refused.

A signature does not age. Without this record whoever can replace a file, or play the fog, could
bring back a bundle that was withdrawn.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headtail.bundle.manifest import Manifest, Name, Version, version_key
from headtail.errors import BundleOutdated, ConfigError
from headtail.files import write_file

log = logging.getLogger(__name__)

RECORD = "installed.json"
MAX_RECORD_BYTES = 1 << 20
Kept = TypeVar("Kept")


def read_installed(folder: Path) -> Mapping[str, str]:
    """Return the newest version by name, as the folder's record has it; empty without one.

    Raises:
        ConfigError: If there is a record that cannot be read: it is not taken for an empty one.
    """
    return read_versions(folder / RECORD, dict[Name, Version])


def read_versions(path: Path, kind: type[dict[str, Kept]]) -> dict[str, Kept]:
    """Return what a record keeps of each bundle's name; nothing without a record.

    Raises:
        ConfigError: If there is a record that cannot be read: it is not taken for an empty one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECORD_BYTES)
        return msgspec.json.decode(data, type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}; remove it to start anew") from error


def write_versions(path: Path, record: Mapping[str, Any], consequence: str) -> None:
    """Replace a record; where that cannot be, warn of the consequence.

    Nobody replaces bundles in a folder that cannot be written either.
    """
    try:
        write_file(path, msgspec.json.encode(record, order="sorted") + b"\n", 0o644)
    except ConfigError as error:
        log.warning("%s; %s", error, consequence)


def check_installed(folder: Path, where: str, name: str, version: str) -> None:
    """Raise where a newer version of a bundle was installed before.

    Args:
        folder: With the record.
        where: The bundle, for the text.
        name: Of the bundle.
        version: Of the bundle.

    Raises:
        BundleOutdated: If it is older.
        ConfigError: If the record cannot be read.
    """
    newest = read_installed(folder).get(name)
    if newest is not None and version_key(version) < version_key(newest):
        raise BundleOutdated(where, f"{name} {newest}", f"{name} {version}")


def record_installed(folder: Path, manifests: Iterable[Manifest], *, is_forced: bool) -> None:
    """Remember what is installed now.

    Args:
        folder: With the record.
        manifests: Of what is installed.
        is_forced: Whether an older version takes the place of a newer one, as an operator may ask.

    Raises:
        ConfigError: If the record cannot be read.
    """
    before = read_installed(folder)
    newest = newest_versions(manifests)
    if not is_forced:
        kept = {n: max(v, newest.get(n, v), key=version_key) for n, v in before.items()}
        newest = {**newest, **kept}
    after = {**before, **newest}
    if after != before:
        write_versions(folder / RECORD, after, "older bundles cannot be told from new ones")


def newest_versions(manifests: Iterable[Manifest]) -> dict[str, str]:
    """Return the newest version of each name."""
    newest: dict[str, str] = {}
    for manifest in manifests:
        version = newest.get(manifest.name, manifest.version)
        newest[manifest.name] = max(version, manifest.version, key=version_key)
    return newest
