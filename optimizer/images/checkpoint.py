"""A training on disk after each epoch: one .npz file, whole or as it was."""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headtail.errors import ConfigError
from headtail.tensor import Array
from optimizer.training.training import Epoch


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a training has been through."""

    key: str
    """Digest of all that decides how it goes on."""
    epochs: tuple[Epoch, ...]
    epoch_s: tuple[float, ...]
    """Measured seconds of each epoch's steps."""
    best_epoch: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training between two epochs."""

    history: History
    confusion: Array
    """Of the best epoch on the validation split, shape (classes, classes)."""
    state: Sequence[Array]
    """Variables of the model and of the optimiser."""
    best: Sequence[Array]
    """Weights of the best epoch."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file before it stays until this one is whole.

    Raises:
        ConfigError: If it cannot be written.
    """
    arrays: dict[str, Any] = {f"state_{i:05}": a for i, a in enumerate(checkpoint.state)}
    arrays |= {f"best_{i:05}": a for i, a in enumerate(checkpoint.best)}
    history = np.frombuffer(msgspec.json.encode(checkpoint.history), np.uint8)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        # Not through headtail.files: the content of a large network would be held twice.
        with os.fdopen(handle, "wb") as file:
            np.savez(file, history=history, confusion=checkpoint.confusion, **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def read_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """Return the checkpoint at `path`, None where there is no file.

    Raises:
        ConfigError: If it is damaged, or of another training than `key` says.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            history = msgspec.json.decode(members["history"].tobytes(), type=History)
            if history.key != key:
                raise ConfigError(
                    str(path), "is of another training (data, model, seed or [train]); remove it"
                )
            names = sorted(members.files)
            state = [members[n] for n in names if n.startswith("state_")]
            best = [members[n] for n in names if n.startswith("best_")]
            return Checkpoint(history, members["confusion"], state, best)
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        TypeError,
        msgspec.MsgspecError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            str(path), f"damaged checkpoint: {reason}; remove it to train anew"
        ) from error
