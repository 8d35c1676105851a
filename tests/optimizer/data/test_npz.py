"""Tests of loading your own arrays."""

from pathlib import Path

import numpy as np
import pytest

from headtail.errors import DataError
from optimizer.data.dataset import DataConfig
from optimizer.data.load import load
from optimizer.data.npz import GIVEN

X = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
Y = np.arange(40) % 2


def config(path: Path, **arrays: object) -> DataConfig:
    """Write an .npz and return the section that names it."""
    np.savez(path, **arrays)
    return DataConfig(source="npz", path=str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where to write."""
    return tmp_path / "mine.npz"


def test_windows_are_split_at_random(path: Path) -> None:
    data = load(config(path, x=X, y=Y))
    assert [28, 6, 6] == [len(part) for part in data.splits.values()]
    assert ("0", "1") == data.labels
    assert "random 70/15/15 split" == data.protocol
    assert not data.is_synthetic


def test_given_splits_are_kept(path: Path) -> None:
    given = {name: X[:4] if name.startswith("x") else Y[:4] for name in GIVEN}
    data = load(config(path, x=X, y=Y, labels=["a", "b", "c"], **given))
    assert [40, 4, 4] == [len(part) for part in data.splits.values()]
    assert ("a", "b", "c") == data.labels
    assert "given splits" == data.protocol


def test_names_become_numbers_in_alphabetical_order(path: Path) -> None:
    data = load(config(path, x=X, y=np.array(["sick", "fit"])[Y]))
    assert ("fit", "sick") == data.labels
    assert {"fit": 14, "sick": 14} == data.train.counts(data.labels)


def test_images_stay_bytes(path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    assert np.uint8 == load(config(path, x=images, y=Y)).train.x.dtype


def test_cap_limits_training_only(path: Path) -> None:
    config(path, x=X, y=Y)
    data = load(DataConfig(source="npz", path=str(path), max_train_per_class=3))
    assert [6, 6, 6] == [len(part) for part in data.splits.values()]


NAN = X.copy()
NAN[7, 3] = np.nan


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "expected arrays x, y .* received x$"),
        ({"x": X, "y": Y, "z": Y}, "received x, y, z$"),
        ({"x": X, "y": Y, "x_test": X}, "expected all of .* or none"),
        ({"x": NAN, "y": Y}, "'x': window 7 holds NaN or infinity"),
        ({"x": X, "y": Y[:-1]}, "'x': expected windows of shape .* received .*39"),
        ({"x": X, "y": Y * 0}, "expected at least two classes to learn from, received '0' alone"),
        ({"x": X, "y": Y - 1}, "'y': expected class numbers from 0"),
        ({"x": X, "y": Y * 1.0}, "'y': expected class numbers from 0"),
        ({"x": X, "y": Y * 99999}, "'y': expected at most 10000 classes"),
        ({"x": X, "y": Y, "labels": ["a"]}, "'labels': expected 2 names, received 1"),
        ({"x": X.astype("U8"), "y": Y}, "'x': expected windows of numbers"),
        ({"x": X[:, 0], "y": Y}, "'x': expected windows of numbers"),
        ({"x": np.array([{}] * 40), "y": Y}, "expected an .npz file: Object arrays cannot"),
    ],
)
def test_bad_arrays_are_named(path: Path, arrays: dict[str, object], message: str) -> None:
    """What does not fit gives one line with the file and the array."""
    with pytest.raises(DataError, match=message) as caught:
        load(config(path, **arrays))
    assert "mine.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_files_are_named(path: Path) -> None:
    missing = DataConfig(source="npz", path=str(path))
    with pytest.raises(DataError, match=r"mine\.npz: no such file"):
        load(missing)
    path.write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(DataError, match=r"mine\.npz: expected an \.npz file"):
        load(missing)
    with path.open("wb") as file:
        np.save(file, X)
    with pytest.raises(DataError, match=r"mine\.npz: expected an \.npz file, received a single"):
        load(missing)
    np.savez(path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"mine\.npz: expected an \.npz file"):
        load(missing)


def test_path_is_needed() -> None:
    with pytest.raises(DataError, match="expected `path`"):
        load(DataConfig(source="npz"))
