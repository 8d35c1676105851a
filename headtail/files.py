"""Writing a file in one step: it is whole at its path, or it is as it was."""

import os
import tempfile
from pathlib import Path

from headtail.errors import ConfigError


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write `content` to `path`, through a temporary file beside it that is synced first.

    Args:
        path: Where; an existing file is replaced, missing folders are made.
        content: What.
        mode: Permissions of the file; it never has others.

    Raises:
        ConfigError: If it cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
