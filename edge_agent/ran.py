"""The last versions of each bundle that ran on this device: a roll-back goes back no further.

Whoever has a fog's key can say that somebody went back on purpose, and every version ever signed
is rightly signed. What ran here before is what a roll-back may reasonably name.
"""

from collections.abc import Mapping
from pathlib import Path

from headtail.bundle.installed import read_versions, write_versions
from headtail.bundle.manifest import Name, Version, version_key
from headtail.errors import BundleOutdated

RECORD = "ran.json"
KEPT = 8
"""Versions of a bundle that are remembered."""


def read_ran(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Return the versions by name, the last one last; empty without a record.

    Raises:
        ConfigError: If there is a record that cannot be read: it is not taken for an empty one.
    """
    return read_versions(folder / RECORD, dict[Name, tuple[Version, ...]])


def record_ran(folder: Path, name: str, version: str) -> None:
    """Remember that a version runs.

    Raises:
        ConfigError: If the record cannot be read; one that cannot be written is warned about.
    """
    before = read_ran(folder)
    others = (v for v in before.get(name, ()) if v != version)
    after = {**before, name: (*others, version)[-KEPT:]}
    if after != before:
        consequence = "how far back a fog may go is not remembered"
        write_versions(folder / RECORD, after, consequence)


def check_ran(folder: Path, where: str, name: str, version: str) -> None:
    """Raise where a roll-back goes further back than this device has been.

    One that has run a single version may go back to any, once: the fleet may have had another
    before it came.

    Args:
        folder: With the record.
        where: The bundle, for the text.
        name: Of the bundle.
        version: Of the bundle.

    Raises:
        BundleOutdated: If it is older than all that ran here.
        ConfigError: If the record cannot be read.
    """
    ran = read_ran(folder).get(name, ())
    oldest = min(ran, key=version_key, default=version)
    if len(ran) > 1 and version_key(version) < version_key(oldest):
        raise BundleOutdated(where, f"{name} {oldest}", f"{name} {version}")
