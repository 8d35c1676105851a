"""Your own images, one folder per class: dealt 60/20/20, or as the folders say.

    FOLDER/CLASS/*.jpg            protocol `paper` deals each class at random
    FOLDER/train/CLASS/*.jpg      protocol `given` keeps the test images apart; without a folder
    FOLDER/test/CLASS/*.jpg       `validation`, its images are drawn from those of `train`
    FOLDER/validation/CLASS/*.jpg

With the second layout and the protocol `paper`, the images of all folders are dealt anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headtail.errors import DataError
from optimizer.data.dataset import (
    DataConfig,
    Dataset,
    Labels,
    Progress,
    Split,
    silent,
)
from optimizer.data.images_config import ImagesConfig
from optimizer.data.images_decode import SUFFIXES, Decoder, ImageFiles

CIFAR10_SMALL = "cifar10_small"
"""Name of the folder in HEADTAIL_DATA, and of its source."""
MAX_IMAGES = 1_000_000
MAX_CLASSES = 10_000
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class DealtImages:
    """A data set of images before it is decoded."""

    name: str
    files: Sequence[ImageFiles]
    """Images for train, validation and test."""
    labels: tuple[str, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else a reader of the figures must know."""


def load_images(config: DataConfig, progress: Progress = silent) -> Dataset:
    """Load the images of a folder with a folder per class.

    Raises:
        DataError: If the folder is missing or holds too little, or a class has no image that can
            be decoded; the text names the folder.
    """
    config.check_protocol("paper", "given")
    folder = _folder(config)
    parts, labels = list_folders(folder)
    rng = np.random.default_rng(config.seed)
    if config.protocol == "given":
        if "test" not in parts:
            raise DataError(
                str(folder), "protocol 'given': expected folders 'train' and 'test' in it"
            )
        files = _given(parts, images_config(config), rng)
    else:
        files = deal_images(_merged(list(parts.values())), images_config(config), rng)
    return build_dataset(config, DealtImages(folder.name, files, labels), rng, progress)


def _folder(config: DataConfig) -> Path:
    has_place = config.source == CIFAR10_SMALL or config.path is not None
    folder = config.folder(CIFAR10_SMALL) if has_place else None
    if folder is None:
        raise DataError(
            f"data source '{config.source}'",
            "expected `path`, a folder with a folder of images per class",
        )
    return folder


def images_config(config: DataConfig) -> ImagesConfig:
    """Return the section [data.images], with its defaults where the recipe has none."""
    return config.images or ImagesConfig()


def list_folders(folder: Path) -> tuple[dict[str, ImageFiles], tuple[str, ...]]:
    """Return the images by part, `all` where the folder has no parts, and the class names.

    Raises:
        DataError: If there is no such folder, or fewer than two classes with images in it.
    """
    if not folder.is_dir():
        raise DataError(str(folder), "no such folder")
    has_parts = (folder / "train").is_dir() and (folder / "test").is_dir()
    places = {name: folder / name for name in PARTS} if has_parts else {"all": folder}
    places = {name: place for name, place in places.items() if place.is_dir()}
    labels = sorted({p.name for place in places.values() for p in _class_folders(place)})
    if len(labels) > MAX_CLASSES:
        raise DataError(str(folder), f"expected at most {MAX_CLASSES} folders of classes")
    parts = {name: _list_classes(place, labels) for name, place in places.items()}
    found = np.unique(np.concatenate([part.y for part in parts.values()]))
    if len(found) < 2:
        raise DataError(
            str(folder),
            "expected a folder of images for each of at least two classes, received"
            f" {len(found)}; looked for {', '.join(sorted(SUFFIXES))}",
        )
    return parts, tuple(labels)


def deal_images(
    files: ImageFiles, images: ImagesConfig, rng: np.random.Generator
) -> list[ImageFiles]:
    """Deal images into train, validation and test, each class in the same shares."""
    rest, test = _part(files, images.train_ratio + images.validation_ratio, rng)
    share = images.train_ratio / (images.train_ratio + images.validation_ratio)
    return [*_part(rest, share, rng), test]


def build_dataset(
    config: DataConfig, dealt: DealtImages, rng: np.random.Generator, progress: Progress
) -> Dataset:
    """Decode the images of the three splits.

    Args:
        config: Size and limits.
        dealt: What to decode.
        rng: Draws what `max_train_per_class` keeps.
        progress: Told how far it is.

    Raises:
        DataError: If the images are too many for memory, or none of a class can be decoded.
    """
    images, where = images_config(config), f"data '{dealt.name}'"
    files = [_capped(dealt.files[0], config.max_train_per_class, rng), *dealt.files[1:]]
    decoder = Decoder(images.height, images.width)
    decoder.check_memory(sum(map(len, files)), where)
    splits = [decoder.split(part, use, progress) for part, use in zip(files, PARTS, strict=True)]
    for number in np.setdiff1d(np.arange(len(dealt.labels)), splits[0].y):
        raise DataError(
            f"{where}, class '{dealt.labels[number]}'",
            "expected images to learn from, received none that can be decoded",
        )
    return Dataset(
        name=dealt.name,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        labels=dealt.labels,
        steps=(),
        protocol=config.protocol,
        is_synthetic=False,
        notes={
            **dealt.notes,
            "height": images.height,
            "width": images.width,
            "skipped": decoder.skipped,
            "skipped_files": list(decoder.names),
        },
    )


def halves(train: Split, images: ImagesConfig, rng: np.random.Generator) -> tuple[Split, Split]:
    """Deal the training images into Dataset A and Dataset B, each class in the same shares.

    Where `fine_tune_ratio` is 0 both are all of them.

    Source: ToSiM-IoT, sec. VI-C.2: A trains first, B fine-tunes after pruning.
    """
    if images.fine_tune_ratio == 0:
        return train, train
    first, second = _indices(train.y, 1 - images.fine_tune_ratio, rng)
    return Split(train.x[first], train.y[first]), Split(train.x[second], train.y[second])


def _class_folders(place: Path) -> list[Path]:
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))


def _list_classes(place: Path, labels: Sequence[str]) -> ImageFiles:
    paths: list[Path] = []
    numbers: list[int] = []
    for number, label in enumerate(labels):
        found = sorted(p for p in (place / label).rglob("*") if p.suffix.lower() in SUFFIXES)
        paths += found
        numbers += [number] * len(found)
        if len(paths) > MAX_IMAGES:
            raise DataError(str(place), f"expected at most {MAX_IMAGES} images")
    return ImageFiles(paths, np.array(numbers, np.int64))


def _given(
    parts: dict[str, ImageFiles], images: ImagesConfig, rng: np.random.Generator
) -> list[ImageFiles]:
    if "validation" in parts:
        return [parts[name] for name in PARTS]
    return [*_part(parts["train"], 1 - images.validation_ratio, rng), parts["test"]]


def _merged(parts: Sequence[ImageFiles]) -> ImageFiles:
    return ImageFiles(
        [p for part in parts for p in part.paths], np.concatenate([p.y for p in parts])
    )


def _part(
    files: ImageFiles, share: float, rng: np.random.Generator
) -> tuple[ImageFiles, ImageFiles]:
    first, second = _indices(files.y, share, rng)
    return files.take(first), files.take(second)


def _indices(y: Labels, share: float, rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Return the indices of a share of each class, and those of the rest, both rising."""
    if len(y) == 0:
        return y, y
    members = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
    ends = [round(share * len(m)) for m in members]
    first = [m[:end] for m, end in zip(members, ends, strict=True)]
    second = [m[end:] for m, end in zip(members, ends, strict=True)]
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))


def _capped(files: ImageFiles, limit: int | None, rng: np.random.Generator) -> ImageFiles:
    if limit is None or len(files) == 0:
        return files
    members = [rng.permutation(np.flatnonzero(files.y == label)) for label in np.unique(files.y)]
    return files.take(np.sort(np.concatenate([m[:limit] for m in members])))
