"""Bonn EEG: seizure against the rest, windows dealt by recording.

Andrzejak et al., Phys. Rev. E 64, 061907, 2001; CC BY 4.0. Five sets of 100 recordings of 23.6 s,
4,097 samples at 173.61 Hz, 0.53 to 40 Hz, one channel each: A and B from the scalp of five healthy
people, C and D from within the skull of five patients between seizures, E of them in seizures. The
files do not say whose recording is whose, so a split by patient is not possible.
"""

from pathlib import Path

import numpy as np

from headtail.errors import DataError
from headtail.tensor import Array
from optimizer.data.dataset import (
    DataConfig,
    Dataset,
    Progress,
    Split,
    capped,
    deal,
    joined,
    silent,
)

FOLDER = "bonn_eeg"
SETS = ("setA", "setB", "setC", "setD", "setE")
SEIZURE_SET = "setE"
LABELS = ("rest", "seizure")
RATE_HZ = 173.61
RECORDING_SAMPLES = 4097
# Four windows of 5.9 s a recording; the last sample stays over.
WINDOW_SAMPLES = 1024
MIN_RECORDINGS = 4
MAX_RECORDINGS = 1000
# The files of 2001 have at most 34 KB.
MAX_FILE_BYTES = 1 << 20
# Twelve-bit converter; some copies are in microvolts.
MAX_VALUE = 1e6


def load_bonn(config: DataConfig, progress: Progress = silent) -> Dataset:
    """Load the windows of all recordings, every set's recordings dealt 70/15/15.

    Raises:
        DataError: If the folder or a file is missing or malformed; the text names it.
    """
    config.check_protocol("recording")
    folder = config.folder(FOLDER)
    if folder is None:
        raise DataError("Bonn EEG", "set `path` or HEADTAIL_DATA to a folder with setA to setE")
    rng = np.random.default_rng(config.seed)
    parts: tuple[list[Split], list[Split], list[Split]] = ([], [], [])
    counts = {}
    for done, name in enumerate(SETS):
        progress("reading Bonn EEG", done, len(SETS))
        paths = list_recordings(folder / name)
        counts[name] = len(paths)
        windows = np.stack([cut_windows(read_recording(path)) for path in paths])
        label = int(name == SEIZURE_SET)
        for part, chosen in zip(parts, deal(len(paths), rng), strict=True):
            x = windows[chosen].reshape(-1, WINDOW_SAMPLES)
            part.append(Split(x, np.full(len(x), label, np.int64)))
    progress("reading Bonn EEG", len(SETS), len(SETS))
    train, validation, test = (joined(part) for part in parts)
    return Dataset(
        name="bonn",
        train=capped(train, config.max_train_per_class, rng),
        validation=validation,
        test=test,
        labels=LABELS,
        steps=(),
        protocol="recording",
        is_synthetic=False,
        notes={
            "split": "by recording, 70/15/15 of each set; patients are not known and overlap",
            "recordings": counts,
            "window_samples": WINDOW_SAMPLES,
            "rate_hz": RATE_HZ,
        },
    )


def list_recordings(folder: Path) -> list[Path]:
    """Return the recordings of one set by name; some copies have names in .TXT.

    Raises:
        DataError: If the folder is missing or has too few or too many.
    """
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".txt")
    except OSError as error:
        raise DataError(str(folder), f"cannot be read: {error.strerror}") from error
    if not MIN_RECORDINGS <= len(found) <= MAX_RECORDINGS:
        raise DataError(
            str(folder),
            f"expected {MIN_RECORDINGS} to {MAX_RECORDINGS} .txt recordings, received {len(found)}",
        )
    return found


def read_recording(path: Path) -> Array:
    """Read one recording, shape (4097,), float32.

    Raises:
        DataError: If it cannot be read or holds something else than 4,097 numbers.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise DataError(str(path), f"expected at most {MAX_FILE_BYTES} bytes")
    words = content.split()
    if len(words) != RECORDING_SAMPLES:
        raise DataError(str(path), f"expected {RECORDING_SAMPLES} numbers, received {len(words)}")
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise DataError(str(path), f"expected numbers: {error}") from error
    good = np.abs(values) <= MAX_VALUE
    if not good.all():
        bad = int(np.argmin(good))
        raise DataError(str(path), f"sample {bad}: {values[bad]:g} is no measured value")
    return values.astype(np.float32)


def cut_windows(recording: Array) -> Array:
    """Return the whole windows of a recording, shape (windows, WINDOW_SAMPLES)."""
    count = len(recording) // WINDOW_SAMPLES
    return recording[: count * WINDOW_SAMPLES].reshape(count, WINDOW_SAMPLES)
