"""Tests of DeepWeeds: the real tables with drawn images, and broken tables."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from images_case import draw
from PIL import Image

from headtail.errors import DataError
from optimizer.data.dataset import DataConfig
from optimizer.data.deepweeds import read_fold, read_labels
from optimizer.data.images_config import ImagesConfig
from optimizer.data.load import load

NAMES = [f"2016092{i % 10}-14031{i // 10}-{i % 4}.jpg" for i in range(40)]
FOLD = {"train": NAMES[:24], "val": NAMES[24:32], "test": NAMES[32:]}


@pytest.fixture(scope="session")
def tables(real_data: Callable[[str], Path]) -> Path:
    """Return the folder of the real label files, or skip."""
    return real_data("deepweeds/labels.csv").parent


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a folder laid out like DeepWeeds: 40 drawn images, two classes, fold 3."""
    labels = [f"{name},{i % 2},{'weed' if i % 2 else 'rest'}" for i, name in enumerate(NAMES)]
    (tmp_path / "labels.csv").write_text("\n".join(["Filename,Label,Species", *labels, ""]))
    for part, names in FOLD.items():
        rows = [f"{name},{NAMES.index(name) % 2}" for name in names]
        (tmp_path / f"{part}_subset3.csv").write_text("\n".join(["Filename,Label", *rows, ""]))
    for i, name in enumerate(NAMES):
        draw(tmp_path / "images" / name, i, (8, 8))
    return tmp_path


def config(folder: Path, **changes: object) -> DataConfig:
    """Return a section [data] for `folder`."""
    images = ImagesConfig(height=8, width=8, fold=3)
    fields: dict[str, object] = {"source": "deepweeds", "path": str(folder), "images": images}
    return DataConfig(**{**fields, **changes})


@pytest.mark.data
def test_real_tables(tables: Path) -> None:
    """Counts of data/README.md and of the paper's table; every fold is a partition."""
    classes, labels = read_labels(tables / "labels.csv")
    assert (17_509, 9, "Chinee apple", "Negative") == (
        len(classes),
        len(labels),
        labels[0],
        labels[8],
    )
    counts = np.bincount(list(classes.values()))
    assert [1125, 1064, 1031, 1022, 1062, 1009, 1074, 1016, 9106] == counts.tolist()
    for fold in range(5):
        parts = read_fold(tables, fold, classes)
        assert 17_509 == sum(len(part) for part in parts)
        assert [0.6, 0.2, 0.2] == [round(len(part) / 17_509, 2) for part in parts]


@pytest.mark.data
def test_real_fold_loads_with_drawn_images(tables: Path, tmp_path: Path) -> None:
    """One drawn 8 x 8 image stands for each of 17,509; each split's classes are the table's.

    One photograph has another class in the folds than in labels.csv.
    """
    for path in tables.glob("*.csv"):
        shutil.copy(path, tmp_path)
    (tmp_path / "images").mkdir()
    classes, labels = read_labels(tables / "labels.csv")
    for number in range(9):
        Image.new("RGB", (8, 8), (20 * number, 0, 0)).save(tmp_path / f"{number}.png")
    for name, number in classes.items():
        (tmp_path / "images" / name).symlink_to(tmp_path / f"{number}.png")
    dataset = load(config(tmp_path, protocol="given"))
    assert [10_506, 3_503, 3_500] == [len(split) for split in dataset.splits.values()]
    assert (labels, 3) == (dataset.labels, dataset.notes["fold"])
    differing = sum(int((20 * s.y != s.x[:, 0, 0, 0]).sum()) for s in dataset.splits.values())
    assert (1, ["20170714-110407-3.jpg"]) == (
        differing,
        dataset.notes["other_class_than_labels_csv"],
    )


def test_official_fold_is_taken(small: Path) -> None:
    dataset = load(config(small, protocol="given"))
    assert [24, 8, 8] == [len(split) for split in dataset.splits.values()]
    assert (("rest", "weed"), "given") == (dataset.labels, dataset.protocol)


def test_paper_deals_anew(small: Path) -> None:
    dataset = load(config(small))
    assert {"rest": 12, "weed": 12} == dataset.train.counts(dataset.labels)


def test_missing_image_is_named_and_counted(small: Path) -> None:
    (small / "images" / NAMES[5]).unlink()
    dataset = load(config(small, protocol="given"))
    assert (1, [f"images/{NAMES[5]}"]) == (
        dataset.notes["skipped"],
        dataset.notes["skipped_files"],
    )
    assert 23 == len(dataset.train)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("labels.csv", "Species", "Kind", "expected the columns Filename, Label, Species"),
        ("labels.csv", NAMES[1], "../../etc/passwd", "csv:3: expected an image such as"),
        ("labels.csv", NAMES[1], NAMES[0], "csv:3: .* occurs twice"),
        ("labels.csv", ",1,weed", ",7,weed", r"expected classes 0, 1, ..., received \[0, 7\]"),
        ("labels.csv", ",1,weed", ",one,weed", "expected a class from 0 to 9, received 'one'"),
        ("labels.csv", ",0,rest", ",0", "expected 3 columns"),
        ("val_subset3.csv", f"{NAMES[24]},0", f"{NAMES[24]},2", "2: labels.csv has no such"),
        ("val_subset3.csv", NAMES[24], "20200101-000000-0.jpg", "labels.csv has no such"),
        ("val_subset3.csv", NAMES[24], NAMES[0], "occurs twice in fold 3"),
    ],
)
def test_broken_table_is_named(small: Path, file: str, old: str, new: str, message: str) -> None:
    text = (small / file).read_text()
    assert old in text
    (small / file).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=f"{file.removesuffix('.csv')}.*{message}"):
        load(config(small, protocol="given"))


def test_folder_without_images_says_how_to_get_them(small: Path) -> None:
    shutil.rmtree(small / "images")
    with pytest.raises(DataError, match="images: no such folder; `optimizer data fetch deepweeds`"):
        load(config(small))
