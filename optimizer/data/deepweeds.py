"""DeepWeeds: eight weeds of Australian rangeland and `Negative`, 17,509 images of 256 x 256.

Olsen et al., DeepWeeds, Scientific Reports 9, 2058, 2019; images and labels CC BY 4.0. A folder
with labels.csv, train_subset0.csv to test_subset4.csv (five official folds, 60/20/20) and `images`.
"""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headtail.errors import DataError
from optimizer.data.dataset import DataConfig, Dataset, Progress, silent
from optimizer.data.images import DealtImages, build_dataset, deal_images, images_config
from optimizer.data.images_decode import ImageFiles

FOLDER = "deepweeds"
"""Name of the folder in HEADTAIL_DATA."""
# labels.csv has 598,898 bytes and 17,509 rows.
MAX_TABLE_BYTES = 4 << 20
IMAGE_NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]\.jpg")
"""Date, time and camera; never a path out of the folder."""


def load_deepweeds(config: DataConfig, progress: Progress = silent) -> Dataset:
    """Load DeepWeeds: `given` takes an official fold, `paper` deals 60/20/20 anew.

    Images that labels.csv names and the folder lacks are left out and counted like broken ones.

    Raises:
        DataError: If the folder, a table or the images are missing or broken; the text names it.
    """
    config.check_protocol("paper", "given")
    folder = config.folder(FOLDER)
    if folder is None:
        raise DataError(
            "DeepWeeds", "set `path` or HEADTAIL_DATA, or run `optimizer data fetch deepweeds`"
        )
    classes, labels = read_labels(folder / "labels.csv")
    images = folder / "images"
    if not images.is_dir():
        raise DataError(
            str(images), "no such folder; `optimizer data fetch deepweeds` brings the images"
        )
    rng = np.random.default_rng(config.seed)
    if config.protocol == "given":
        fold = images_config(config).fold
        parts = read_fold(folder, fold, classes)
        files = [_files(images, part) for part in parts]
        moved = [name for part in parts for name in part if part[name] != classes[name]]
        notes = {"fold": fold, "other_class_than_labels_csv": sorted(moved)}
    else:
        files = deal_images(_files(images, classes), images_config(config), rng)
        notes = {}
    return build_dataset(config, DealtImages(FOLDER, files, labels, notes), rng, progress)


def read_labels(path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the class number of each image by its name, and the class names by number.

    Raises:
        DataError: If the table is missing or malformed; the text names the line.
    """
    classes: dict[str, int] = {}
    species: dict[int, str] = {}
    for line, row in _rows(path, ("Filename", "Label", "Species")):
        name, number = _checked(row, path, line)
        if name in classes:
            raise DataError(f"{path}:{line}", f"'{name}' occurs twice")
        if species.setdefault(number, row[2]) != row[2]:
            raise DataError(f"{path}:{line}", f"class {number}: '{species[number]}' and '{row[2]}'")
        classes[name] = number
    if sorted(species) != list(range(len(species))) or len(species) < 2:
        raise DataError(str(path), f"expected classes 0, 1, ..., received {sorted(species)}")
    return classes, tuple(species[i] for i in range(len(species)))


def read_fold(folder: Path, fold: int, classes: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the class numbers by image name of train, validation and test of an official fold.

    They may differ from those of labels.csv: 20170714-110407-3.jpg is `Chinee apple` in all folds
    and `Lantana` there.

    Raises:
        DataError: If a table is missing or malformed, or an image is not in labels.csv or in two
            tables.
    """
    parts: list[dict[str, int]] = []
    highest = max(classes.values())
    for part in ("train", "val", "test"):
        path = folder / f"{part}_subset{fold}.csv"
        found: dict[str, int] = {}
        for line, row in _rows(path, ("Filename", "Label")):
            name, number = _checked(row, path, line)
            if name not in classes or number > highest:
                raise DataError(f"{path}:{line}", f"'{name}', {number}: labels.csv has no such")
            if name in found or any(name in other for other in parts):
                raise DataError(f"{path}:{line}", f"'{name}' occurs twice in fold {fold}")
            found[name] = number
        parts.append(found)
    return parts


def _files(images: Path, classes: Mapping[str, int]) -> ImageFiles:
    names = sorted(classes)
    return ImageFiles(
        [images / name for name in names], np.array([classes[n] for n in names], np.int64)
    )


def _rows(path: Path, header: tuple[str, ...]) -> list[tuple[int, list[str]]]:
    """Return line number and fields of each row under the header."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_TABLE_BYTES:
        raise DataError(str(path), f"expected at most {MAX_TABLE_BYTES} bytes")
    lines = content.decode("utf-8", errors="replace").splitlines()
    try:
        rows = list(csv.reader(lines))
    except csv.Error as error:
        raise DataError(str(path), f"no table: {error}") from error
    if not rows or tuple(rows[0]) != header:
        raise DataError(str(path), f"expected the columns {', '.join(header)}")
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataError(f"{path}:{line}", f"expected {len(header)} columns")
    return list(enumerate(rows[1:], start=2))


def _checked(row: list[str], path: Path, line: int) -> tuple[str, int]:
    if IMAGE_NAME.fullmatch(row[0]) is None:
        raise DataError(
            f"{path}:{line}",
            f"expected an image such as 20160928-140314-0.jpg, received '{row[0]}'",
        )
    if re.fullmatch(r"[0-9]", row[1]) is None:
        raise DataError(f"{path}:{line}", f"expected a class from 0 to 9, received '{row[1]}'")
    return row[0], int(row[1])
