"""Inputs that a fog captured, and labels that somebody gave them.

A folder holds shards, anywhere below it. Windows are model inputs, past all steps, so they are of
use to a model only where its steps are those that made them. Labels are in CSV files of two
columns, the id of a window and the name of its class; one without a label is for calibration alone.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headtail.bundle.manifest import Step
from headtail.captured import PATTERN, Header, Shard, read_shard
from headtail.errors import DataError
from headtail.tensor import Array
from optimizer.data.dataset import Labels

COLUMNS = ["id", "label"]
MAX_LABEL_BYTES = 64 << 20
UNLABELLED = -1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What captured windows must be to be of use."""

    steps: Sequence[Step]
    """The steps that made them: the data's signal steps, then the recipe's window steps."""
    shape: tuple[int, ...]
    """Of one window."""
    labels: Sequence[str]
    """Names of the classes."""


class Captured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder held, for the lineage and the report."""

    fingerprint: str
    """SHA-256 of the windows that are used and their classes, in hexadecimal."""
    windows: int
    """Used."""
    labelled: int
    """Of these, those with a class."""
    counts: dict[str, int]
    """Labelled windows of each class, by name."""
    bundles: tuple[str, ...]
    """Name and version of the bundles whose inputs they were."""
    agents: int
    oldest_s: float
    """Unix times of the first and the last; 0 where there are none."""
    newest_s: float
    left_out: dict[str, int]
    """Windows of no use, by why."""
    damaged: tuple[str, ...]
    """Why a shard could not be read, a line each."""
    unmatched: int
    """Labels of windows that are not there, or of no use."""

    def __str__(self) -> str:
        parts = [f"{self.windows} windows, {self.labelled} of them labelled"]
        parts += [f"{count} left out: {why}" for why, count in self.left_out.items()]
        if self.unmatched:
            parts.append(f"{self.unmatched} labels without a window")
        if self.damaged:
            parts.append(f"{len(self.damaged)} damaged shards: {'; '.join(self.damaged)}")
        return "; ".join(parts)


def read_captured(
    folder: Path, labels: Path | None, wanted: Wanted
) -> tuple[Array, Labels, Captured]:
    """Read what is of use below a folder, in an order that depends on nothing but the windows.

    Returns:
        Windows, shape (N, ...), float32; class of each, -1 where it has none; and what was found.

    Raises:
        DataError: If a folder is missing, or a file of labels is wrong; names file and line.
    """
    shards, damaged = read_shards(folder)
    found: dict[str, _Found] = {}
    left_out: Counter[str] = Counter()
    for shard in shards:
        why = _unfit(shard, wanted)
        if why is not None:
            left_out[why] += len(shard.index)
            continue
        found.update(_windows(shard))
    classes = read_labels(labels, wanted.labels) if labels is not None else {}
    chosen = [found[name] for name in sorted(found)]
    shape = (0, *wanted.shape)
    x = np.stack([f.x for f in chosen]) if chosen else np.zeros(shape, np.float32)
    y = np.array([classes.get(name, UNLABELLED) for name in sorted(found)], np.int64)
    number = np.bincount(y[y >= 0], minlength=len(wanted.labels))
    times = [f.time_s for f in chosen]
    return x, y, Captured(
        fingerprint=fingerprint(x, y),
        windows=len(chosen),
        labelled=int((y >= 0).sum()),
        counts={name: int(n) for name, n in zip(wanted.labels, number, strict=True)},
        bundles=tuple(sorted({f.bundle for f in chosen})),
        agents=len({f.agent for f in chosen}),
        oldest_s=min(times, default=0.0),
        newest_s=max(times, default=0.0),
        left_out=dict(sorted(left_out.items())),
        damaged=tuple(damaged),
        unmatched=len(classes.keys() - found.keys()),
    )  # fmt: skip


def read_shards(folder: Path) -> tuple[list[Shard], list[str]]:
    """Return the shards below a folder, and a line on each that cannot be read.

    Raises:
        DataError: If there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(str(folder), "expected a folder of captured windows; there is none")
    shards, damaged = [], []
    for path in sorted(folder.rglob(PATTERN)):
        try:
            shards.append(read_shard(path))
        except DataError as error:
            if path.exists():  # a fog may have replaced it meanwhile
                damaged.append(str(error))
    return shards, damaged


def read_labels(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Read every .csv file of a folder, or one such file; return the class by window id.

    Raises:
        DataError: If there is none, a line is no id and label, a label is no class, or two differ.
    """
    paths = sorted(folder.glob("*.csv")) if folder.is_dir() else [folder]
    if not paths:
        raise DataError(str(folder), "expected files NAME.csv with the columns id,label")
    numbers = {name: i for i, name in enumerate(names)}
    classes: dict[str, int] = {}
    for path in paths:
        for line, name, label in _rows(path):
            number = numbers.get(label)
            if number is None:
                known = ", ".join(names)
                raise DataError(f"{path}:{line}", f"expected one of {known}; received '{label}'")
            if classes.setdefault(name, number) != number:
                other = names[classes[name]]
                raise DataError(f"{path}:{line}", f"'{name}' is '{other}' and '{label}'")
    return classes


def fingerprint(x: Array, y: Labels) -> str:
    """Return SHA-256 of windows and their classes, in hexadecimal."""
    digest = hashlib.sha256(f"{x.dtype.str} {x.shape}".encode())
    digest.update(np.ascontiguousarray(x).data)
    digest.update(y.astype("<i8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _Found:
    x: Array
    time_s: float
    agent: str
    bundle: str


def _windows(shard: Shard) -> Iterator[tuple[str, _Found]]:
    index = shard.index
    bundle = f"{index.header.model} {index.header.version}"
    rows = zip(index.ids.tolist(), index.times_s.tolist(), index.agents.tolist(), strict=True)
    for row, (name, time_s, agent) in enumerate(rows):
        yield name, _Found(shard.inputs[0][row], time_s, agent, bundle)


def _unfit(shard: Shard, wanted: Wanted) -> str | None:
    """Return why the windows of a shard are of no use; None where they are."""
    header: Header = shard.index.header
    if len(shard.inputs) != 1:
        return "of a model with several inputs"
    if _plain(header.preprocess) != _plain(wanted.steps):
        return "made by other steps"
    (array,) = shard.inputs
    if array.shape[1:] != tuple(wanted.shape) or array.dtype != np.float32:
        return "of another shape or dtype"
    if not np.isfinite(array).all():
        return "not finite"
    return None


def _plain(steps: Sequence[Step]) -> Any:
    """Return steps as JSON would give them back."""
    return msgspec.json.decode(msgspec.json.encode(tuple(steps)))


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            raise DataError(str(path), f"expected at most {MAX_LABEL_BYTES} bytes")
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if cells in ([], COLUMNS):
                    continue
                if len(cells) != len(COLUMNS) or not all(cells):
                    line = reader.line_num
                    raise DataError(f"{path}:{line}", "expected two columns: id,label")
                yield reader.line_num, cells[0], cells[1]
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(str(path), f"expected CSV in UTF-8: {error}") from error
