"""MIT-BIH Arrhythmia Database 1.0.0: windows of its annotated beats in two protocols.

Moody & Mark, IEEE Eng. in Med. and Biol. 20(3), 2001; PhysioNet, ODC-By 1.0.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from headtail.errors import DataError
from headtail.preprocess.pipeline import Pipeline
from headtail.preprocess.step import Signal
from optimizer.data.aami import AAMI_CLASSES, DS1, DS2, LABELS, RECORDS, choose_lead
from optimizer.data.dataset import (
    DataConfig,
    Dataset,
    Labels,
    Progress,
    Split,
    capped,
    joined,
    silent,
    split_at_random,
)

# wfdb 4.3 calls pandas in a way that pandas 3 wants changed, on import and on reading.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    import wfdb

FOLDER = "mitdb"
"""Name of the folder in HEADTAIL_DATA."""
DROPPED = "Q"
"""Fifteen beats in 44 records are too few to learn or test; the last of LABELS."""
SUFFIXES = (".hea", ".dat", ".atr")
HELD_OUT_RECORDS = 4
MAX_HELD_OUT_SHARE = 0.35
HOLD_OUT_DRAWS = 10_000


_kept: dict[bytes, dict[str, Split]] = {}


@dataclass(frozen=True, slots=True)
class Record:
    """One lead of one record with its annotated beats."""

    name: str
    lead: str
    rate_hz: float
    signal: Signal
    """Millivolts, shape (N,)."""
    samples: Labels
    """R peaks, shape (beats,)."""
    classes: Labels
    """AAMI class of each beat as an index into LABELS, shape (beats,)."""


def find_folder(config: DataConfig) -> Path | None:
    """Return the MIT-BIH folder of `config` or of HEADTAIL_DATA, None where neither is set."""
    return config.folder(FOLDER)


def read_record(folder: Path, name: str) -> Record:
    """Read one record.

    Raises:
        DataError: If a file is missing, truncated or no WFDB; the text names it.
    """
    where = folder / name
    for suffix in SUFFIXES:
        if not where.with_suffix(suffix).is_file():
            raise DataError(str(where.with_suffix(suffix)), "no such file")
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            header = wfdb.rdheader(str(where))
            lead = choose_lead(header.sig_name)
            record = wfdb.rdrecord(str(where), channels=[lead])
            annotation = wfdb.rdann(str(where), "atr")
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(str(where), f"cannot be read as a WFDB record: {reason}") from error
    signal = np.asarray(record.p_signal[:, 0], dtype=np.float64)
    if not np.isfinite(signal).all():
        raise DataError(f"{where}.dat", f"sample {int(np.argmin(np.isfinite(signal)))} is invalid")
    samples, classes = _beats(annotation.sample, annotation.symbol)
    if len(samples) and samples[-1] >= len(signal):
        raise DataError(
            f"{where}.dat", f"ends at sample {len(signal)}, before the beat at {samples[-1]}"
        )
    return Record(name, header.sig_name[lead], float(record.fs), signal, samples, classes)


def load_mitbih(config: DataConfig, progress: Progress = silent) -> Dataset:
    """Load the windows of the annotated beats in the protocol that `config` names.

    Raises:
        DataError: If the folder or a file is missing or broken; the text names it.
    """
    config.check_protocol("paper", "inter_patient")
    folder = find_folder(config)
    if folder is None:
        raise DataError(
            "MIT-BIH", "set `path` or HEADTAIL_DATA, or run `optimizer data fetch mitbih`"
        )
    if not (folder / "100.hea").is_file():
        raise DataError(str(folder), "holds no MIT-BIH records (100.hea and so on)")
    unknown = sorted(set(config.exclude) - set(RECORDS))
    if unknown:
        raise DataError("data `exclude`", f"MIT-BIH has no record '{unknown[0]}'")
    if config.protocol == "paper":
        return _paper(folder, config, progress)
    return _inter_patient(folder, config, progress)


def _paper(folder: Path, config: DataConfig, progress: Progress) -> Dataset:
    """Balance the five classes of all 48 records and split beats at random; patients overlap."""
    rng = np.random.default_rng(config.seed)
    names = [name for name in RECORDS if name not in config.exclude]
    beats = joined(list(_windows(folder, names, config, progress).values()))
    smallest = int(np.bincount(beats.y, minlength=len(LABELS)).min())
    drawn = capped(beats, smallest, rng)
    train, validation, test = split_at_random(drawn.x, drawn.y, rng)
    return Dataset(
        name="mitbih",
        train=capped(train, config.max_train_per_class, rng),
        validation=validation,
        test=test,
        labels=LABELS,
        steps=config.steps,
        protocol="paper",
        is_synthetic=False,
        notes={"beats_per_class": smallest, "records": len(names)},
    )


def _inter_patient(folder: Path, config: DataConfig, progress: Progress) -> Dataset:
    """Train on patients of DS1, validate on others of DS1, test on those of DS2; Q is dropped."""
    rng = np.random.default_rng(config.seed)
    labels = tuple(label for label in LABELS if label != DROPPED)
    names = [name for name in DS1 + DS2 if name not in config.exclude]
    windows = _windows(folder, names, config, progress)
    kept = {name: _only(split, len(labels)) for name, split in windows.items()}
    held_out = _hold_out({name: kept[name].counts(labels) for name in DS1 if name in kept}, rng)
    train = joined([kept[name] for name in kept if name in DS1 and name not in held_out])
    return Dataset(
        name="mitbih",
        train=capped(train, config.max_train_per_class, rng),
        validation=joined([kept[name] for name in held_out]),
        test=joined([kept[name] for name in kept if name in DS2]),
        labels=labels,
        steps=config.steps,
        protocol="inter_patient",
        is_synthetic=False,
        notes={"validation_records": list(held_out), "dropped_class": DROPPED},
    )


def _hold_out(counts: Mapping[str, Mapping[str, int]], rng: np.random.Generator) -> list[str]:
    """Draw the records for validation: every class occurs in them, most of it stays in training.

    Nearly all F beats of DS1 are from record 208 and many S beats from 209, so a plain draw would
    now and then leave nothing to learn from.
    """
    names = sorted(counts)
    table = np.array([list(counts[name].values()) for name in names])
    total = table.sum(axis=0)
    for _ in range(HOLD_OUT_DRAWS):
        chosen = np.sort(rng.choice(len(names), HELD_OUT_RECORDS, replace=False))
        out = table[chosen].sum(axis=0)
        if np.all((out > 0) & (out <= MAX_HELD_OUT_SHARE * total)):
            return [names[i] for i in chosen]
    raise DataError("MIT-BIH", "no choice of validation records has every class")


def _windows(
    folder: Path, names: Sequence[str], config: DataConfig, progress: Progress
) -> dict[str, Split]:
    """Return the windows of each record's annotated beats.

    The last answer is kept: the repeats of a run split the same windows anew.
    """
    files = [folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES]
    states = [(str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files if f.is_file()]
    key = msgspec.json.encode((states, names, config.steps))
    if key not in _kept:
        found = _read_windows(folder, names, config, progress)
        _kept.clear()
        _kept[key] = found
    progress("reading MIT-BIH", len(names), len(names))
    return dict(_kept[key])


def _read_windows(
    folder: Path, names: Sequence[str], config: DataConfig, progress: Progress
) -> dict[str, Split]:
    pipeline = Pipeline(config.steps)
    found = {}
    for done, name in enumerate(names):
        progress("reading MIT-BIH", done, len(names))
        record = read_record(folder, name)
        cut = pipeline.windows_at(record.signal, record.rate_hz, record.samples)
        found[name] = Split(np.stack([window.values for window in cut]), record.classes)
        found[name].x.flags.writeable = False
    return found


def _beats(samples: Sequence[int], symbols: Sequence[str]) -> tuple[Labels, Labels]:
    """Return sample and class of the annotations that are beats."""
    beats = [
        (n, AAMI_CLASSES[s]) for n, s in zip(samples, symbols, strict=True) if s in AAMI_CLASSES
    ]
    classes = [LABELS.index(label) for _, label in beats]
    return np.array([n for n, _ in beats], dtype=np.int64), np.array(classes, dtype=np.int64)


def _only(split: Split, classes: int) -> Split:
    """Return the windows of the first `classes` classes."""
    keep = split.y < classes
    return Split(split.x[keep], split.y[keep])
