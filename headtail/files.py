"""Files and names on the disk: whole at their path, or as they were."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from headtail.errors import ConfigError


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write `content` to `path`; arguments and errors are those of `replacing`."""
    with replacing(path, mode) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Give a temporary file beside `path`, which is synced and takes its place after the block.

    Args:
        path: Where; an existing file is replaced, missing folders are made.
        mode: Permissions of the file; it never has others.

    Raises:
        ConfigError: If it cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: those of new and renamed files.

    Raises:
        OSError: If they cannot be put there.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
