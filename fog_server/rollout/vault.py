"""The files of published bundles: received in bounds, put in place in one step, removed."""

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from headtail.errors import Overloaded, RequestInvalid
from headtail.files import sync_folder

log = logging.getLogger(__name__)

FOLDER = "rollout"
"""Below the folder of bundles; all in it is the fog's own."""
MIN_FREE_BYTES = 64 << 20
"""What a publication leaves free on the disk: for the state, and for whoever shares it."""
_UPLOAD = "upload-"
_RETRY_S = 60.0
_NEW_S = 3600.0


class Vault:
    """The folder of published files; several servers may use it at once."""

    def __init__(self, bundles: Path, max_bundle_bytes: int, max_store_bytes: int) -> None:
        """Keep files below the folder of bundles, and take no more than these bytes."""
        self.bundles = bundles
        self.folder = bundles / FOLDER
        self._max_bundle_bytes = max_bundle_bytes
        self._max_store_bytes = max_store_bytes

    def path(self, digest: str) -> Path:
        """Return where the file of a published bundle is."""
        return self.folder / f"{digest}.bundle"

    def relative(self, digest: str) -> str:
        """Return the same, from the folder of bundles."""
        return f"{FOLDER}/{digest}.bundle"

    @contextmanager
    def received(self, size_bytes: int, chunks: Iterable[bytes]) -> Iterator[Path]:
        """Write what comes to a file that is gone afterwards, unless it is put in place.

        Raises:
            RequestInvalid: If it is larger than a bundle may be, or not of the size announced.
            Overloaded: If there is no room for it.
        """
        if not 0 < size_bytes <= self._max_bundle_bytes:
            limit = f"expected 1 to {self._max_bundle_bytes} bytes, received {size_bytes}"
            raise RequestInvalid("bundle", limit)
        self._check_room(size_bytes)
        with self._storing():
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=_UPLOAD)
            file = os.fdopen(handle, "wb")
        path = Path(name)
        try:
            with file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._write(file, size_bytes, chunks)
                yield path
        finally:
            path.unlink(missing_ok=True)

    def place(self, received: Path, digest: str) -> None:
        """Give a received file its name; it stays there whatever happens next."""
        with self._storing():
            received.chmod(0o644)
            received.replace(self.path(digest))
            sync_folder(self.folder)

    def remove(self, path: str) -> None:
        """Remove a published file; one that an operator put beside them is theirs."""
        if Path(path).parent.name == FOLDER:
            (self.bundles / path).unlink(missing_ok=True)

    def sweep(self, known: Iterable[str]) -> None:
        """Remove what a server left behind that ended while it published.

        Args:
            known: Paths, from the folder of bundles, of the files that are kept. The caller holds
                off every change of them.
        """
        kept = {self.bundles / path for path in known}
        for path in self.folder.glob("*.bundle"):
            if path not in kept:
                log.warning("%s belongs to no bundle here; removed", path)
                path.unlink(missing_ok=True)
        for path in self.folder.glob(f"{_UPLOAD}*"):
            if _is_abandoned(path):
                path.unlink(missing_ok=True)

    def _write(self, file: BinaryIO, size_bytes: int, chunks: Iterable[bytes]) -> None:
        left = size_bytes
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise RequestInvalid("bundle", f"more came than the {size_bytes} bytes announced")
            with self._storing():
                file.write(chunk)
        if left:
            raise RequestInvalid(
                "bundle", f"expected {size_bytes} bytes, received {size_bytes - left}"
            )
        with self._storing():
            file.flush()
            os.fsync(file.fileno())

    def _check_room(self, size_bytes: int) -> None:
        with self._storing():
            self.folder.mkdir(parents=True, exist_ok=True)
            used = sum(p.stat().st_size for p in self.folder.glob("*.bundle"))
            free = shutil.disk_usage(self.folder).free - MIN_FREE_BYTES
        if used + size_bytes > self._max_store_bytes:
            raise _full(f"{used} of {self._max_store_bytes} bytes hold bundles, {size_bytes} came")
        if size_bytes > free:
            raise _full(f"{max(0, free)} bytes are free, {size_bytes} came")

    @contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _full(f"{self.folder}: {error.strerror or error}") from error


def _full(reason: str) -> Overloaded:
    return Overloaded("fog's store", f"no room: {reason}", _RETRY_S)


def _is_abandoned(path: Path) -> bool:
    """Return whether nobody writes to an upload any more."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between being made and being locked it is empty, and new.
            found = os.fstat(file.fileno())
            return found.st_size > 0 or time.time() - found.st_mtime > _NEW_S
    except OSError:
        return False
