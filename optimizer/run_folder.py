"""The folder of one run: what is there, what is finished, and nothing half-written."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from headtail.errors import ConfigError
from headtail.files import replacing, write_file
from headtail.tensor import Array
from optimizer.recipe.executor import ExecutorConfig
from optimizer.recipe.image import AnyRecipe
from optimizer.recipe.recipe import Recipe

HISTORY, MODEL, RUN = "history.jsonl", "model.keras", "run.json"
SEARCH, TRAINING = "search.json", "training.json"
MODE = 0o644
T = TypeVar("T")


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `run.json`: whose folder this is, and how far the run came."""

    recipe_sha256: str
    seed: int
    bundle: str | None = None
    """File name of the bundle once the run is finished."""
    digest: str | None = None
    """Digest of that bundle."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that belongs to one recipe with one seed."""

    path: Path

    @property
    def record(self) -> RunRecord:
        """What `run.json` says.

        Raises:
            ConfigError: If it cannot be read.
        """
        return _read(self.path / RUN, RunRecord)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file in one step: it is whole, or it is not there.

        Raises:
            ConfigError: If it cannot be written.
        """
        write_file(self.path / name, content, MODE)
        return self.path / name

    def write_arrays(self, name: str, arrays: Mapping[str, Array]) -> None:
        """Write a compressed .npz in the same way."""
        with replacing(self.path / name, MODE) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    def write_record(self, name: str, record: msgspec.Struct) -> None:
        """Write a struct as indented JSON."""
        self.write(name, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")

    def read_record(self, name: str, kind: type[T]) -> T | None:
        """Read what `write_record` wrote; None where there is no such file.

        Raises:
            ConfigError: If it is there and cannot be read.
        """
        path = self.path / name
        return _read(path, kind) if path.exists() else None

    def append(self, record: dict[str, object]) -> None:
        """Add one line to the history; lines are never changed."""
        with (self.path / HISTORY).open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")

    def cut_torn_line(self) -> None:
        """Cut off what a kill left of the history's last line, so that the next begins whole."""
        path = self.path / HISTORY
        if not path.exists():
            return
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)

    def finish(self, bundle: str, digest: str) -> None:
        """Note that the run is complete."""
        record = msgspec.structs.replace(self.record, bundle=bundle, digest=digest)
        self.write_record(RUN, record)


def open_run(path: Path, recipe: AnyRecipe, text: bytes) -> RunFolder:
    """Take an empty or new folder, or the folder of an earlier run of the same recipe and seed.

    Args:
        path: The folder; made where it does not exist.
        recipe: The run's recipe with its seed.
        text: The recipe's file, of which a copy is kept.

    Raises:
        ConfigError: If the folder holds something else, or cannot be written to.
    """
    same: AnyRecipe = recipe
    if isinstance(recipe, Recipe):  # a run may go on elsewhere than it began
        same = msgspec.structs.replace(recipe, executor=ExecutorConfig())
    record = RunRecord(hashlib.sha256(msgspec.json.encode(same)).hexdigest(), recipe.seed)
    folder = RunFolder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if (path / RUN).exists():
            _check_same(folder, record)
            folder.cut_torn_line()
            return folder
        if any(p.name[0] != "." for p in path.iterdir()):
            raise ConfigError(
                f"--out {path}", "holds files that are no run; name a new or empty folder"
            )
        folder.write("recipe.toml", text)
        folder.write_record(RUN, record)
    except OSError as error:
        reason = error.strerror or os.fsdecode(str(error))
        raise ConfigError(f"--out {path}", f"cannot be written to: {reason}") from error
    return folder


def _check_same(folder: RunFolder, expected: RunRecord) -> None:
    found = folder.record
    if (found.recipe_sha256, found.seed) != (expected.recipe_sha256, expected.seed):
        raise ConfigError(
            f"--out {folder.path}",
            f"holds the run of another recipe, version or seed ({found.seed}); name another folder",
        )


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from error
