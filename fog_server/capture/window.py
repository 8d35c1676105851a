"""A captured window before it is stored, and shards made of such."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from headtail.bundle import Manifest
from headtail.captured import Header, Index, Shard, window_id
from headtail.tensor import Array

MAX_SEQUENCE_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Window:
    """One window's inputs, and where it comes from."""

    header: Header
    inputs: tuple[Array, ...]
    """The model's inputs in the manifest's order; without the batch axis where there is one."""
    key: float
    """Drawn in [0, 1)."""
    time_s: float
    """Unix time of its arrival."""
    agent: str
    sequence: int
    """-1 where it is not known."""

    @property
    def id(self) -> str:
        """Its name, by its content."""
        return window_id(self.inputs)

    @property
    def size_bytes(self) -> int:
        """Of its inputs."""
        return sum(array.nbytes for array in self.inputs)


@dataclass(frozen=True, slots=True)
class Kind:
    """What the windows of one shard have in common."""

    bundle: str
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, shard: Shard) -> "Kind":
        """Return the kind of a shard."""
        return cls(shard.index.header.bundle, tuple(a.shape[1:] for a in shard.inputs))


def make_header(manifest: Manifest, digest: str) -> Header:
    """Return what windows of a bundle have in common."""
    return Header(
        model=manifest.name,
        version=manifest.version,
        bundle=digest,
        inputs=manifest.inputs,
        preprocess=manifest.preprocess,
        is_batchable=manifest.is_batchable,
    )


def make_shard(window: Window) -> Shard:
    """Return a shard of one window."""
    index = Index(
        window.header,
        ids=np.array([window.id]),
        keys=np.array([window.key]),
        times_s=np.array([window.time_s]),
        agents=np.array([window.agent], np.str_),
        sequences=np.array([window.sequence], np.int64),
    )
    return Shard(index, tuple(array[np.newaxis] for array in window.inputs))


def take(shard: Shard, rows: Array) -> Shard:
    """Return some windows of a shard."""
    index = shard.index
    values = {f.name: getattr(index, f.name) for f in fields(Index) if f.name != "header"}
    chosen = Index(index.header, **{name: array[rows] for name, array in values.items()})
    return Shard(chosen, tuple(array[rows] for array in shard.inputs))


def read_sequences(text: object, windows: int) -> Sequence[int]:
    """Return the numbers that an agent gave its windows, -1 for each where they do not fit."""
    parts = text.split(",") if isinstance(text, str) else []
    if len(parts) != windows or not all(
        p.isascii() and p.isdigit() and len(p) <= MAX_SEQUENCE_DIGITS for p in parts
    ):
        return [-1] * windows
    return [int(part) for part in parts]
