"""Agents' names in captured windows: hashed with a secret of the folder, unless they are asked for.

A hash tells windows of one agent from those of another; whose they are only somebody can say who
has the secret, which is a file that is read by the fog alone and is never copied with the shards.
"""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

SALT = ".salt"
_SALT_BYTES, _DIGEST_BYTES = 32, 8


def hash_name(name: str, salt: bytes) -> str:
    """Return 16 hexadecimal digits for an agent."""
    digest = hashlib.blake2b(name.encode(), digest_size=_DIGEST_BYTES, key=salt)
    return digest.hexdigest()


def read_salt(folder: Path) -> bytes:
    """Return the folder's secret, made where there is none; servers that share it get the same.

    Raises:
        OSError: If it can be neither read nor made.
    """
    path = folder / SALT
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = folder / f"{SALT}.{secrets.token_hex(8)}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, secrets.token_bytes(_SALT_BYTES))
            os.fsync(handle)
            with suppress(FileExistsError):
                os.link(temporary, path)  # unlike a rename it leaves one that was first
        finally:
            os.close(handle)
            temporary.unlink(missing_ok=True)
    return path.read_bytes()
