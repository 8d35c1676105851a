"""A training on disk after each epoch: one .npz file, whole or as it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headtail.errors import ConfigError
from headtail.files import replacing
from headtail.tensor import Array
from headtail.zip_errors import ZIP_ERRORS
from optimizer.cut.graph_file import first_line
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
    with replacing(path, 0o600) as file:
        np.savez(file, history=history, confusion=checkpoint.confusion, **arrays)


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
    except (OSError, KeyError, TypeError, msgspec.MsgspecError, *ZIP_ERRORS) as error:
        raise ConfigError(
            str(path), f"damaged checkpoint: {first_line(error)}; remove it to train anew"
        ) from error
