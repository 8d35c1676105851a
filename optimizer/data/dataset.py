"""A data set: raw windows in three splits, with where they come from."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from headtail.bundle.manifest import Step
from headtail.errors import DataError
from headtail.preprocess.beat import Beats
from headtail.preprocess.deviation import Deviation
from headtail.preprocess.rhythm import Rhythm
from headtail.tensor import Array
from optimizer.data.images_config import ImagesConfig

ECG_RATE_HZ = 125.0  # Kachuee et al. 2018, arXiv:1805.00794
Labels = NDArray[np.int64]
Progress = Callable[[str, int, int], None]
"""Called as (what, done, total) while something long goes on."""

Source = Literal[
    "mitbih", "bonn", "chbmit", "synthetic", "npz", "images", "deepweeds", "cifar10_small", "auto"
]
Protocol = Literal["paper", "inter_patient", "recording", "given"]


def silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[data]` section of a recipe."""

    source: Source = "auto"
    """Where windows come from; `auto` is MIT-BIH where its folder is found, synthetic otherwise."""
    path: str | None = None
    """Folder of the data set, or .npz file; the default is a folder in HEADTAIL_DATA: `mitdb` for
    mitbih, `bonn_eeg` for bonn, `chbmit` for chbmit, `deepweeds` for deepweeds, `cifar10_small` for
    cifar10_small; images needs one, with a folder per class."""
    protocol: Protocol = "paper"
    """`paper` (mitbih): five balanced classes, beats split at random 70/15/15; for images each
    class 60/20/20. `inter_patient`: no patient is in two splits; mitbih trains on DS1 and tests on
    DS2. `recording` (bonn, chbmit): no recording is in two splits, patients may be. `given`: the
    folders train and test of images, an official fold of deepweeds. Ignored by npz."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Draws the samples and the splits."""
    beats: Beats = Beats()
    """Section [data.beats]: how a window is cut from an ECG around its R peak."""
    deviation: Deviation | None = None
    """Section [data.deviation]: a beat's window less the mean of those before it; off
    by default."""
    rhythm: Rhythm | None = None
    """Section [data.rhythm]: R-R intervals up to the beat, appended to its window; off
    by default."""
    exclude: tuple[str, ...] = ()
    """MIT-BIH records or CHB-MIT cases to leave out of everything, say for a demonstration."""
    max_train_per_class: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """At most so many training windows of one class, drawn at random; None takes all."""
    images: ImagesConfig | None = None
    """Section [data.images]: size and shares of images, deepweeds and cifar10_small."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The signal steps that cut an ECG into windows; only parameters that are no default."""
        resample = Step("resample", {"rate_hz": ECG_RATE_HZ})
        beats = Step("beats", _changed(self.beats, Beats()))
        steps = [resample, beats]
        if self.deviation is not None:
            steps.append(Step("deviation", _changed(self.deviation, Deviation())))
        if self.rhythm is not None:
            steps.append(Step("rhythm", _changed(self.rhythm, Rhythm())))
        return tuple(steps)

    def folder(self, name: str) -> Path | None:
        """Return `path`, or the folder `name` in HEADTAIL_DATA, None where neither is set."""
        if self.path is not None:
            return expand(self.path)
        root = os.environ.get("HEADTAIL_DATA")
        return Path(root) / name if root else None

    def check_protocol(self, *known: Protocol) -> None:
        """Refuse a protocol that the source has not.

        Raises:
            DataError: If `protocol` is none of `known`.
        """
        if self.protocol not in known:
            raise DataError(
                f"data source '{self.source}'",
                f"protocol: expected {' or '.join(known)}, received '{self.protocol}'",
            )


def _changed(given: msgspec.Struct, usual: msgspec.Struct) -> dict[str, Any]:
    """Return the parameters that differ from the defaults."""
    defaults = msgspec.to_builtins(usual)
    plain: dict[str, Any] = msgspec.to_builtins(given)
    return {name: value for name, value in plain.items() if value != defaults[name]}


@dataclass(frozen=True, slots=True)
class Split:
    """Windows with their labels, for one use."""

    x: Array
    """Raw windows before the window steps: (N, L), (N, L, C) or (N, H, W, C)."""
    y: Labels
    """Class numbers, shape (N,)."""

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise DataError("split", f"expected as many labels as {len(self.x)} windows")

    def __len__(self) -> int:
        return len(self.y)

    def counts(self, labels: Sequence[str]) -> dict[str, int]:
        """Return the number of windows of each class, by label."""
        number = np.bincount(self.y, minlength=len(labels))
        return {label: int(n) for label, n in zip(labels, number, strict=True)}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Three splits of one origin."""

    name: str
    """`mitbih`, `synthetic ECG` or the name of a file."""
    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...]
    steps: tuple[Step, ...]
    """The signal steps that made the windows; the edge runs them before the window steps."""
    protocol: str
    is_synthetic: bool
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What else a reader of the figures must know: records held out, classes dropped."""

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            if len(split) == 0:
                raise DataError(f"data '{self.name}'", f"no windows for {name}")
        present = np.unique(self.train.y)
        if len(present) < 2:
            raise DataError(
                f"data '{self.name}', split 'train'",
                "expected at least two classes to learn from, received"
                f" '{self.labels[present[0]]}' alone",
            )

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the windows, labels and splits, in hexadecimal; alike for alike data."""
        digest = hashlib.sha256(repr(self.labels).encode())
        for name, split in self.splits.items():
            x = np.ascontiguousarray(split.x)
            digest.update(f"{name} {x.dtype.str} {x.shape}".encode())
            digest.update(x.data)
            digest.update(split.y.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def lineage(self) -> dict[str, Any]:
        """What the manifest says of the data."""
        return {
            "name": self.name,
            "protocol": self.protocol,
            "is_synthetic": self.is_synthetic,
            "fingerprint": self.fingerprint,
            "counts": {k: s.counts(self.labels) for k, s in self.splits.items()},
            **self.notes,
        }


def split_at_random(
    x: Array, y: Labels, rng: np.random.Generator, shares: tuple[float, float] = (0.70, 0.15)
) -> tuple[Split, Split, Split]:
    """Deal windows into train, validation and test, each class in the same shares.

    Args:
        x: Windows, shape (N, ...).
        y: Class numbers, shape (N,).
        rng: Draws the order.
        shares: Of train and validation; test takes the rest.
    """
    parts: tuple[list[Labels], list[Labels], list[Labels]] = ([], [], [])
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        first = round(shares[0] * len(members))
        second = first + round(shares[1] * len(members))
        for part, chosen in zip(parts, np.split(members, [first, second]), strict=True):
            part.append(chosen)
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return Split(x[train], y[train]), Split(x[validation], y[validation]), Split(x[test], y[test])


def deal(
    count: int, rng: np.random.Generator, shares: tuple[float, float] = (0.70, 0.15)
) -> list[Labels]:
    """Deal the numbers 0 to `count` - 1, at least 3, into train, validation and test.

    Args:
        count: How many numbers: recordings or patients that stay whole.
        rng: Draws the order.
        shares: Of train and validation; test takes the rest, at least one.

    Returns:
        Three rising arrays.
    """
    order = rng.permutation(count)
    validation = max(1, round(shares[1] * count))
    first = min(round(shares[0] * count), count - validation - 1)
    return [np.sort(part) for part in np.split(order, [first, first + validation])]


def capped(split: Split, limit: int | None, rng: np.random.Generator) -> Split:
    """Return `split` with at most `limit` windows of each class, drawn at random."""
    if limit is None:
        return split
    members = (np.flatnonzero(split.y == label) for label in np.unique(split.y))
    keep = [m if len(m) <= limit else rng.choice(m, limit, replace=False) for m in members]
    chosen = np.sort(np.concatenate(keep))
    return Split(split.x[chosen], split.y[chosen])


def joined(parts: Sequence[Split]) -> Split:
    """Return the windows of all parts, one after another."""
    return Split(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


def expand(path: str) -> Path:
    """Return a path from a recipe with `~` resolved."""
    return Path(path).expanduser()
