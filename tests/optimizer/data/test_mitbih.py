"""Tests of the MIT-BIH loader: on synthetic records of its layout, and on the real ones."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headtail.errors import DataError
from headtail.preprocess.pipeline import Pipeline
from optimizer.data.aami import DS1, DS2, LABELS, RECORDS
from optimizer.data.dataset import DataConfig
from optimizer.data.load import load
from optimizer.data.match import match
from optimizer.data.mitbih import read_record


def test_patient_sets_share_nobody() -> None:
    """DS1 and DS2 have 22 records each; records 201 and 202, of one man, lie in different sets."""
    assert (22, 22, 48) == (len(set(DS1)), len(set(DS2)), len(set(RECORDS)))
    assert not set(DS1) & set(DS2)


def test_paper_protocol_balances_the_smallest_class(synthetic_mitdb: Path) -> None:
    """Every class has as many windows as the rarest, dealt 70/15/15."""
    data = load(DataConfig(source="mitbih", path=str(synthetic_mitdb)))
    counts = [set(part.counts(LABELS).values()) for part in data.splits.values()]
    assert [1, 1, 1] == [len(values) for values in counts]
    assert data.notes["beats_per_class"] == sum(values.pop() for values in counts)
    assert ("mitbih", "paper", LABELS) == (data.name, data.protocol, data.labels)
    assert DataConfig().steps == data.steps
    assert (187,) == data.train.x.shape[1:]
    assert (0, 1) == (data.train.x.min(), data.train.x.max())


def test_inter_patient_protocol_holds_out_whole_records(synthetic_mitdb: Path) -> None:
    """Train and validation are the beats of DS1 without class Q, test those of DS2."""
    data = load(
        DataConfig(source="mitbih", path=str(synthetic_mitdb), protocol="inter_patient", seed=2)
    )

    def beats(names: list[str]) -> int:
        records = [read_record(synthetic_mitdb, name) for name in names]
        return sum(int(np.sum(record.classes < 4)) for record in records)

    held_out = data.notes["validation_records"]
    assert 4 == len(set(held_out) & set(DS1))
    assert beats(held_out) == len(data.validation)
    assert beats([name for name in DS1 if name not in held_out]) == len(data.train)
    assert beats(list(DS2)) == len(data.test)
    assert LABELS[:4] == data.labels
    assert "Q" == data.notes["dropped_class"]


def test_same_seed_gives_the_same_fingerprint(synthetic_mitdb: Path) -> None:
    configs = [
        DataConfig(source="mitbih", path=str(synthetic_mitdb), seed=seed, exclude=RECORDS[20:])
        for seed in (1, 1, 2)
    ]
    first, second, third = (load(config).fingerprint for config in configs)
    assert first == second != third


def test_excluded_record_is_not_read(synthetic_mitdb: Path, tmp_path: Path) -> None:
    """A demonstration record stays out of every split: its file need not even be there."""
    for path in synthetic_mitdb.iterdir():
        if path.stem != "208":
            (tmp_path / path.name).symlink_to(path)
    data = load(DataConfig(source="mitbih", path=str(tmp_path), exclude=("208",)))
    assert 47 == data.notes["records"]
    with pytest.raises(DataError, match="MIT-BIH has no record '999'"):
        load(DataConfig(source="mitbih", path=str(tmp_path), exclude=("999",)))


def test_progress_counts_records(synthetic_mitdb: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = DataConfig(source="mitbih", path=str(synthetic_mitdb), exclude=RECORDS[10:])
    load(config, lambda _, done, total: seen.append((done, total)))
    assert [(done, 10) for done in range(11)] == seen


def test_records_are_read_once_until_a_file_changes(synthetic_mitdb: Path, tmp_path: Path) -> None:
    """Another split of the same windows costs no reading; a touched file is read again."""
    for path in synthetic_mitdb.iterdir():
        shutil.copy(path, tmp_path)
    seen: list[int] = []

    def splits(seed: int) -> str:
        config = DataConfig(source="mitbih", path=str(tmp_path), exclude=RECORDS[10:], seed=seed)
        return load(config, lambda _, done, total: seen.append(done)).fingerprint

    first = splits(1)
    assert seen == [*range(10), 10]
    assert splits(2) != first
    assert splits(1) == first
    assert seen == [*range(10), 10, 10, 10]
    os.utime(tmp_path / "100.dat")
    assert splits(1) == first
    assert seen == [*range(10), 10, 10, 10, *range(10), 10]


def cut(path: Path) -> None:
    """Keep half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garble(path: Path) -> None:
    """Replace a file by text."""
    path.write_text("<html>log in</html>")


@pytest.mark.parametrize(
    ("suffix", "spoil", "message"),
    [
        (".dat", Path.unlink, r"100\.dat: no such file"),
        (".atr", Path.unlink, r"100\.atr: no such file"),
        (".dat", cut, "100: cannot be read as a WFDB record"),
        (".hea", garble, "100: cannot be read as a WFDB record"),
        (".hea", lambda path: path.write_bytes(b""), "100: cannot be read as a WFDB record"),
    ],
)
def test_broken_record_is_named(
    synthetic_mitdb: Path,
    tmp_path: Path,
    suffix: str,
    spoil: Callable[[Path], object],
    message: str,
) -> None:
    """A missing, truncated or foreign file gives one line with its name."""
    for name in (".hea", ".dat", ".atr"):
        shutil.copy(synthetic_mitdb / f"100{name}", tmp_path)
    spoil(tmp_path / f"100{suffix}")
    with pytest.raises(DataError, match=message) as caught:
        read_record(tmp_path, "100")
    assert "\n" not in str(caught.value)


def test_folder_without_records_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}: holds no MIT-BIH records"):
        load(DataConfig(source="mitbih", path=str(tmp_path)))


def test_no_folder_at_all_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADTAIL_DATA", raising=False)
    with pytest.raises(
        DataError, match="set `path` or HEADTAIL_DATA, or run `optimizer data fetch"
    ):
        load(DataConfig(source="mitbih"))


def test_auto_falls_back_to_synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a MIT-BIH folder the data is synthetic and says so."""
    monkeypatch.setenv("HEADTAIL_DATA", str(tmp_path))
    assert load(DataConfig(max_train_per_class=10)).is_synthetic


def test_auto_takes_mit_bih_where_it_is(
    synthetic_mitdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mitdb").symlink_to(synthetic_mitdb)
    monkeypatch.setenv("HEADTAIL_DATA", str(tmp_path))
    assert "mitbih" == load(DataConfig(exclude=RECORDS[10:])).name


@pytest.mark.data
def test_beats_per_record_are_those_on_file(mitdb: Path) -> None:
    """The classes of all 109,494 beats, record by record, are those counted independently."""
    with (mitdb.parent / "aami_counts_per_record.csv").open() as file:
        rows = {row["record"]: row for row in csv.DictReader(file)}
    assert set(RECORDS) == set(rows)
    for name, row in rows.items():
        record = read_record(mitdb, name)
        counts = np.bincount(record.classes, minlength=5)
        assert [int(row[label]) for label in LABELS] == counts.tolist()
        assert ("MLII" if "MLII" in row["leads"] or name == "114" else "V5") == record.lead


@pytest.mark.data
@pytest.mark.slow
def test_real_protocols_have_the_published_counts(mitdb: Path) -> None:
    """803 beats a class in `paper`; DS1 and DS2 as de Chazal counts them in `inter_patient`."""
    paper = load(DataConfig(source="mitbih", path=str(mitdb)))
    counts = [list(part.counts(LABELS).values()) for part in paper.splits.values()]
    assert [[562] * 5, [120] * 5, [121] * 5] == counts
    across = load(DataConfig(source="mitbih", path=str(mitdb), protocol="inter_patient"))
    train, validation, test = (
        np.array(list(part.counts(across.labels).values())) for part in across.splits.values()
    )
    assert [45866, 944, 3788, 415] == (train + validation).tolist()
    assert [44259, 1837, 3221, 388] == test.tolist()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sensitivity", "predictivity"),
    [("100", 0.999, 0.999), ("105", 0.99, 0.98), ("108", 0.99, 0.975), ("213", 0.999, 0.999)],
)
def test_detector_finds_real_beats(
    mitdb: Path, name: str, sensitivity: float, predictivity: float
) -> None:
    """Clean, noisy, low and mixed records: beats found within 150 ms of the annotations."""
    record = read_record(mitdb, name)
    stream = Pipeline(DataConfig().steps).stream(record.rate_hz)
    found = [window.sample for window in stream.push(record.signal) + stream.flush()]
    matched = match(record.samples, found, record.rate_hz)
    assert matched.sensitivity >= sensitivity
    assert matched.positive_predictivity >= predictivity


@pytest.mark.data
@pytest.mark.slow
def test_detector_is_right_over_the_whole_database(mitdb: Path) -> None:
    """Gross over all 48 records, ventricular flutter included: at least 99.8 and 99.4 %."""
    hits = beats = detections = 0
    for name in RECORDS:
        record = read_record(mitdb, name)
        stream = Pipeline(DataConfig().steps).stream(record.rate_hz)
        found = [window.sample for window in stream.push(record.signal) + stream.flush()]
        hits += len(match(record.samples, found, record.rate_hz).pairs)
        beats += len(record.samples)
        detections += len(found)
    assert hits / beats >= 0.998
    assert hits / detections >= 0.994
