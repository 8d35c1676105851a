"""Shards of captured windows: .npz files that the fog writes and the optimizer reads.

| array | shape | holds |
|---|---|---|
| `header` | () | JSON: format, model, version, bundle, inputs, preprocess |
| `id` | (N,) | of each window, by its content: 16 hexadecimal digits |
| `key` | (N,) | the number in [0, 1) by which the sample was drawn |
| `time_s` | (N,) | Unix time of its arrival at the fog |
| `agent` | (N,) | whose it was: a hash of its name, or the name where that was asked for |
| `sequence` | (N,) | its number there; -1 where the agent did not say |
| `input0`, `input1` ... | (N, ...) | the model's inputs, in the manifest's order |
"""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from headtail.bundle.manifest import Step
from headtail.errors import DataError
from headtail.tensor import Array, TensorSpec, fits
from headtail.zip_errors import ZIP_ERRORS

FORMAT = 1
PATTERN = "*.npz"
MAX_SHARD_BYTES = 1 << 30
"""Largest that is read."""
ID_DIGITS = 16


class Header(msgspec.Struct, frozen=True):
    """What all windows of a shard have in common."""

    model: str
    """The bundle's name."""
    version: str
    bundle: str
    """The bundle's digest."""
    inputs: tuple[TensorSpec, ...]
    """The model's inputs."""
    preprocess: tuple[Step, ...]
    """The steps that made the windows, signal steps and window steps."""
    is_batchable: bool
    """Whether the first axis of the inputs counts windows; it is then no part of a window."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format {self.format}; this program reads {FORMAT}")


@dataclass(frozen=True, slots=True)
class Index:
    """What is known of a shard's windows, each (N,), without the windows themselves."""

    header: Header
    ids: Array
    keys: Array
    times_s: Array
    agents: Array
    sequences: Array

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Shard:
    """Windows with what is known of them."""

    index: Index
    inputs: tuple[Array, ...]
    """One for each of the header's, shape (N, ...) with the shape of a window."""


def window_id(inputs: Sequence[Array]) -> str:
    """Return the name of a window: alike for alike inputs, else another."""
    digest = hashlib.sha256()
    for array in inputs:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:ID_DIGITS]


def write_shard(file: BinaryIO, shard: Shard) -> None:
    """Write a shard to an open file.

    Raises:
        OSError: If it cannot be written.
    """
    index = shard.index
    arrays = {f"input{i}": array for i, array in enumerate(shard.inputs)}
    np.savez(
        file,
        allow_pickle=False,
        header=np.array(msgspec.json.encode(index.header).decode()),
        id=index.ids,
        key=index.keys,
        time_s=index.times_s,
        agent=index.agents,
        sequence=index.sequences,
        **arrays,
    )


def read_index(path: Path) -> Index:
    """Read what a shard says of its windows.

    Raises:
        DataError: If the file is no shard.
    """
    return _read(path, with_inputs=False).index


def read_shard(path: Path) -> Shard:
    """Read a whole shard; checksums and shapes are held against what it says of itself.

    Raises:
        DataError: If the file is no shard, or damaged.
    """
    return _read(path, with_inputs=True)


def _read(path: Path, *, with_inputs: bool) -> Shard:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_SHARD_BYTES:
                raise DataError(str(path), f"expected at most {MAX_SHARD_BYTES} bytes")
            file.seek(0)
            members: Mapping[str, Any] = np.load(file, allow_pickle=False)
            return _decode(members, path, with_inputs=with_inputs)
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (KeyError, MemoryError, *ZIP_ERRORS) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(str(path), f"expected captured windows: {reason}") from error


def _decode(members: Mapping[str, Any], path: Path, *, with_inputs: bool) -> Shard:
    header = msgspec.json.decode(str(members["header"][()]), type=Header)
    index = Index(
        header,
        ids=members["id"],
        keys=members["key"],
        times_s=members["time_s"],
        agents=members["agent"],
        sequences=members["sequence"],
    )
    known = zip("UffUi", (index.ids, index.keys, index.times_s, index.agents, index.sequences),
                strict=True)  # fmt: skip
    for kind, array in known:
        if array.dtype.kind != kind or array.shape != index.ids.shape or array.ndim != 1:
            raise DataError(str(path), "its arrays do not fit each other")
    if not with_inputs:
        return Shard(index, ())
    inputs = tuple(members[f"input{i}"] for i in range(len(header.inputs)))
    for spec, array in zip(header.inputs, inputs, strict=True):
        shape = (len(index), *(spec.shape[1:] if header.is_batchable else spec.shape))
        if array.dtype.name != spec.dtype or not fits(array.shape, shape):
            expected = f"expected {spec.dtype} {shape}"
            received = f"received {array.dtype} {array.shape}"
            raise DataError(f"{path} '{spec.name}'", f"{expected}, {received}")
    return Shard(index, inputs)
