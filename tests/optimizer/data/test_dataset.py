"""Tests of splits, their fingerprint and their rules."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import DataError
from optimizer.data.dataset import DataConfig, Dataset, Split, capped, split_at_random


def dataset(train: Split, other: Split | None = None) -> Dataset:
    """Return a data set of two classes."""
    other = train if other is None else other
    return Dataset("mine", train, other, other, ("a", "b"), (), "given", is_synthetic=False)


def split(count: int = 10, classes: int = 2) -> Split:
    """Return windows that say their own number."""
    return Split(np.arange(count, dtype=np.float32)[:, None], np.arange(count) % classes)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(0, 2**32 - 1))
def test_split_deals_every_window_once(labels: list[int], seed: int) -> None:
    """Train, validation and test together are the windows, each with its own label."""
    y = np.array(labels)
    parts = split_at_random(np.arange(len(y)), y, np.random.default_rng(seed))
    assert list(range(len(y))) == sorted(int(i) for part in parts for i in part.x)
    for part in parts:
        np.testing.assert_array_equal(y[part.x], part.y)


def test_shares_are_70_15_15_within_each_class() -> None:
    parts = split_at_random(*astuple(split(400)), np.random.default_rng(0))
    assert [[140, 140], [30, 30], [30, 30]] == [np.bincount(p.y).tolist() for p in parts]


def astuple(part: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return windows and labels."""
    return part.x, part.y


def test_cap_limits_each_class_and_keeps_smaller_ones_whole() -> None:
    y = np.array([0] * 100 + [1] * 5)
    kept = capped(Split(np.arange(105), y), 20, np.random.default_rng(0))
    assert [20, 5] == np.bincount(kept.y).tolist()


def test_same_seed_gives_the_same_split_and_another_another() -> None:
    first, second, third = (
        split_at_random(*astuple(split(100)), np.random.default_rng(seed))[0].x
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)


def test_fingerprint_is_of_the_values() -> None:
    """Equal data has the fingerprint on record; one changed value, label or dtype another."""
    base = dataset(split()).fingerprint
    assert base == dataset(split()).fingerprint
    x, y = astuple(split())
    changed = [
        Split(x + np.eye(10, 1, dtype=np.float32), y),
        Split(x, y[::-1].copy()),
        Split(x.astype(np.float64), y),
    ]
    assert 4 == len({base, *(dataset(part).fingerprint for part in changed)})


def test_lineage_counts_each_class_of_each_split() -> None:
    lineage = dataset(split(10), split(4)).lineage
    assert {"a": 5, "b": 5} == lineage["counts"]["train"]
    assert {"a": 2, "b": 2} == lineage["counts"]["test"]
    assert lineage["is_synthetic"] is False
    assert lineage == msgspec.json.decode(msgspec.json.encode(lineage))


def test_single_class_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"data 'mine', split 'train': expected at least two classes .* received 'a' alone",
    ):
        dataset(split(10, classes=1))


def test_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="data 'mine': no windows for validation"):
        dataset(split(), split(0))


@pytest.mark.parametrize("bad", [{"sauce": "npz"}, {"seed": -1}, {"protocol": "x"}])
def test_recipe_section_is_checked(bad: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, DataConfig)
