"""Copies of the bundles that kept windows need: an update must not take their tail away."""

import os
import tempfile
from pathlib import Path

from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import Trust
from headtail.errors import SpoolError
from headtail.files import sync_folder


class Bundles:
    """Copies of the bundles that kept windows need, one file a digest, beside the spool."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder, which is made when one is kept."""
        self._folder = folder

    def keep(self, bundle: Path, digest: str, needed: set[str]) -> None:
        """Keep a copy of the bundle that runs now, and remove those nobody needs.

        A copy, since updating a bundle in place would change a link's content too.

        Raises:
            SpoolError: If it cannot be written.
        """
        wanted = {self._path(d) for d in {digest, *needed}}
        try:
            self._folder.mkdir(exist_ok=True)
            for path in set(self._folder.iterdir()) - wanted:
                path.unlink()
            if not self._path(digest).exists():
                _copy(bundle, self._path(digest))
        except OSError as error:
            reason = f"bundle cannot be kept: {error.strerror or error}"
            raise SpoolError(str(self._folder), reason) from error

    def read(self, digest: str, trust: Trust) -> Bundle:
        """Return a bundle that was kept.

        Raises:
            SpoolError: If it is not there or is another.
            BundleError: If it is not fit to run.
        """
        path = self._path(digest)
        if not path.exists():
            raise SpoolError(str(self._folder), f"bundle {digest[:12]} of kept windows is missing")
        bundle = read_bundle(path, trust)
        if bundle.digest != digest:
            raise SpoolError(str(path), f"expected that bundle, received {bundle.digest[:12]}")
        return bundle

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.bundle"


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that it is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as file:
        file.write(source.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(target)
    sync_folder(target.parent)
