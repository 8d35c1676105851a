"""Tests of the Bonn EEG: splits by recording, broken files, the real folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headtail.errors import DataError
from optimizer.data.bonn import SETS, read_recording
from optimizer.data.dataset import DataConfig
from optimizer.data.load import load

RECORDINGS = 20


def write(path: Path, number: int) -> None:
    """Write a recording of 4,097 lines whose every value is `number`."""
    path.write_bytes(b"%d \r\n" % number * 4097)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return five sets whose recordings are told apart by their value; some end in .TXT."""
    for i, name in enumerate(SETS):
        (tmp_path / name).mkdir()
        for j in range(RECORDINGS):
            suffix = "TXT" if j % 2 else "txt"
            write(tmp_path / name / f"R{j:03}.{suffix}", 100 * i + j - 250)
    return tmp_path


def config(folder: Path, seed: int = 0) -> DataConfig:
    """Return the section of a recipe."""
    return DataConfig(source="bonn", path=str(folder), protocol="recording", seed=seed)


def test_no_recording_is_in_two_splits(folder: Path) -> None:
    """Every recording is in one split with its four windows, 14, 3 and 3 of each set."""
    data = load(config(folder))
    seen = [{int(v) for v in split.x[:, 0]} for split in data.splits.values()]
    assert [70, 15, 15] == [len(part) for part in seen]
    assert 100 == len(set.union(*seen))
    for split in data.splits.values():
        assert (len(split), 1024) == split.x.shape
        assert np.all(split.x == split.x[:, :1])
        assert {4} == set(np.unique(split.x[:, 0], return_counts=True)[1].tolist())
        assert np.array_equal(split.y, (split.x[:, 0] >= 150).astype(int))
    assert {"rest": 224, "seizure": 56} == data.train.counts(data.labels)
    assert ("bonn", "recording", False, ()) == (
        data.name,
        data.protocol,
        data.is_synthetic,
        data.steps,
    )


def test_same_seed_same_split(folder: Path) -> None:
    prints = [load(config(folder, seed)).fingerprint for seed in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.write_text("1 2 3"), "expected 4097 numbers, received 3"),
        (lambda p: p.write_text("<a> " * 4097), "expected numbers: "),
        (lambda p: p.write_text("nan " * 4097), "sample 0: nan is no measured value"),
        (lambda p: p.write_text("1e30 " * 4097), r"sample 0: 1e\+30 is no measured value"),
        (lambda p: p.write_bytes(b"1" * (2 << 20)), "expected at most 1048576 bytes"),
        (lambda p: (p.unlink(), p.mkdir()), "cannot be read: Is a directory"),
    ],
)
def test_broken_recording_is_named(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "Z001.txt"
    write(path, 1)
    spoil(path)
    with pytest.raises(DataError, match=rf"Z001\.txt: {message}") as caught:
        read_recording(path)
    assert "\n" not in str(caught.value)


def test_missing_set_and_other_protocols_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="'bonn': protocol: expected recording, received 'paper'"):
        load(DataConfig(source="bonn", path=str(folder)))
    for path in (folder / "setD").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"setD: expected 4 to 1000 \.txt recordings, received 0"):
        load(config(folder))


def test_no_folder_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADTAIL_DATA", raising=False)
    with pytest.raises(DataError, match="Bonn EEG: set `path` or HEADTAIL_DATA"):
        load(DataConfig(source="bonn", protocol="recording"))


@pytest.mark.data
def test_real_folder_has_500_recordings(real_data: Callable[[str], Path]) -> None:
    real_data("bonn_eeg")
    data = load(DataConfig(source="bonn", protocol="recording"))
    counts = [split.counts(data.labels) for split in data.splits.values()]
    assert [(1120, 280), (240, 60), (240, 60)] == [(c["rest"], c["seizure"]) for c in counts]
    assert dict.fromkeys(SETS, 100) == data.notes["recordings"]
    # Ictal recordings swing far wider: Andrzejak et al. 2001, figure 1.
    assert data.train.x[data.train.y == 1].std() > 3 * data.train.x[data.train.y == 0].std()
