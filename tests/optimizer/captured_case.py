"""Shards of captured windows, as a fog writes them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from headtail.bundle.manifest import Step
from headtail.captured import Header, Index, Shard, window_id, write_shard
from headtail.tensor import Array, TensorSpec


def shard_of(x: Array, steps: Sequence[Step], *, version: str = "1") -> Shard:
    """Return a shard of windows, shape (N, ...), float32, whose agents and times are made up."""
    count = len(x)
    spec = TensorSpec("x", "float32", (-1, *x.shape[1:]))
    header = Header("bumps", version, "d" * 64, (spec,), tuple(steps), is_batchable=True)
    index = Index(
        header,
        ids=np.array([window_id([w]) for w in x]),
        keys=np.linspace(0, 0.5, count),
        times_s=1.7e9 + np.arange(count, dtype=np.float64),
        agents=np.array([f"agent{i % 3}" for i in range(count)]),
        sequences=np.arange(count),
    )
    return Shard(index, (x,))


def write(path: Path, shard: Shard) -> Path:
    """Write a shard; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_shard(file, shard)
    return path


def with_header(shard: Shard, **changes: object) -> Shard:
    """Return a shard that says something else of itself."""
    from msgspec.structs import replace as changed

    return replace(shard, index=replace(shard.index, header=changed(shard.index.header, **changes)))
