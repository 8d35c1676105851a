"""Damaged shards of captured windows: refused in one line, or read as they were."""

import io
from pathlib import Path

import numpy as np
import pytest
from captured_case import shard_of

from fuzzing import damaged, fuzz
from headtail.bundle.manifest import Step
from headtail.captured import read_index, read_shard, write_shard
from headtail.errors import DataError

SHARD = shard_of(
    np.random.default_rng(1).standard_normal((3, 4, 2)).astype(np.float32), (Step("x", {"y": 1}),)
)


def written() -> bytes:
    """Return a shard's file."""
    file = io.BytesIO()
    write_shard(file, SHARD)
    return file.getvalue()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """Return where each damaged file is."""
    return tmp_path_factory.mktemp("captured") / "a.npz"


def check_line(text, path):
    """One line that names the file."""
    assert str(path) in text
    assert "\n" not in text


def check(content, path):
    """What is read is what was written, as far as checksums go: nothing else gets through."""
    path.write_bytes(content)
    try:
        shard = read_shard(path)
    except DataError as error:
        check_line(str(error), path)
    else:
        assert (4, 2) == shard.inputs[0].shape[1:]
        assert len(shard.index) == len(shard.inputs[0])
        read_index(path)


test_damaged_shards, test_damaged_shards_for_long = fuzz(check, content=damaged(written()))
