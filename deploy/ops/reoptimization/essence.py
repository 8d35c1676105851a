"""What a bundle does, whatever it is called: two with one essence answer alike at one cost."""

import hashlib
import zipfile
from pathlib import Path

import msgspec

from headtail.bundle.archive import MANIFEST, decode_manifest
from headtail.bundle.manifest import MAX_MANIFEST_BYTES, Manifest, digest
from headtail.errors import BundleUnreadable
from headtail.zip_errors import ZIP_ERRORS

# What says where a bundle comes from and what it should cost, not what it does.
_TOLD = {
    "version", "format_version", "task", "samples", "report", "metrics", "lineage", "profiles",
}  # fmt: skip


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """Return a bundle's manifest and digest; who takes the bundle up checks the rest.

    Raises:
        BundleError: If there is none in it.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
    except (KeyError, *ZIP_ERRORS) as error:
        raise BundleUnreadable(str(path), f"no readable manifest: {error}") from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleUnreadable(str(path), "its manifest is too long")
    manifest = decode_manifest(text, str(path))
    return manifest, digest(manifest)


def essence(manifest: Manifest) -> str:
    """Return twelve digits that two bundles share if they are the same but for names and prices."""
    tree = msgspec.to_builtins(manifest)
    does = {key: value for key, value in tree.items() if key not in _TOLD}
    for point in does["points"]:
        del point["costs"]
        for encoding in point["encodings"]:
            del encoding["accuracy"], encoding["largest_error"]
    return hashlib.sha256(msgspec.json.encode(does, order="sorted")).hexdigest()[:12]
