"""CHB-MIT Scalp EEG 1.0.0: balanced raw windows in and out of seizures, dealt by recording.

Shoeb, PhD thesis, MIT, 2009; PhysioNet, ODC-By 1.0. A window has the 4 s that the network sees and
one more second at each end for the filter; the step `band_pass` takes those away.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headtail.errors import DataError
from headtail.tensor import Array
from optimizer.data.chbmit_summary import Seizure, read_summary
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
from optimizer.data.edf import RATE_HZ, EdfRecording

FOLDER = "chbmit"
LABELS = ("rest", "seizure")
CASES = tuple(f"chb{number:02}" for number in range(1, 25))
SAME_PATIENT = {"chb21": "chb01"}
"""Case 21 is the patient of case 1, a year and a half later (the database's own page)."""
WINDOW = 1024  # 4 s
MARGIN = 256  # 1 s
# Rest keeps this far from any seizure: what comes just before and after one is neither.
GUARD_S = 60
MIN_GROUPS = 4
PROTOCOLS = {"recording": "recordings", "inter_patient": "patients"}


@dataclass(frozen=True, slots=True)
class _Recording:
    case: str
    path: Path
    seizures: tuple[Seizure, ...]

    @property
    def patient(self) -> str:
        """The patient, by their first case."""
        return SAME_PATIENT.get(self.case, self.case)


def load_chbmit(config: DataConfig, progress: Progress = silent) -> Dataset:
    """Load as many windows of rest as of seizure from every recording that has seizures.

    Raises:
        DataError: If the folder or a file is missing or malformed; the text names it.
    """
    config.check_protocol("recording", "inter_patient")
    unknown = sorted(set(config.exclude) - set(CASES))
    if unknown:
        raise DataError("data `exclude`", f"CHB-MIT has no case '{unknown[0]}'")
    folder = config.folder(FOLDER)
    if folder is None:
        raise DataError(
            "CHB-MIT", "set `path` or HEADTAIL_DATA, or run `optimizer data fetch chbmit`"
        )
    rng = np.random.default_rng(config.seed)
    recordings = _list_recordings(folder, config.exclude)
    windows: dict[_Recording, Split] = {}
    without: list[str] = []
    for done, recording in enumerate(recordings):
        progress(f"reading {recording.path.name}", done, len(recordings))
        split = _read_windows(recording, rng)
        if split is None:
            without.append(recording.path.name)
        elif len(split):
            windows[recording] = split
    progress("reading CHB-MIT", len(recordings), len(recordings))
    by_patient = config.protocol == "inter_patient"
    train, validation, test = _deal(
        windows, lambda r: r.patient if by_patient else r.path.name, rng, folder
    )
    return Dataset(
        name="chbmit",
        train=capped(train, config.max_train_per_class, rng),
        validation=validation,
        test=test,
        labels=LABELS,
        steps=(),
        protocol=config.protocol,
        is_synthetic=False,
        notes={
            "split": f"by {PROTOCOLS[config.protocol]}, 70/15/15",
            "cases": sorted({recording.case for recording in windows}),
            "recordings": len(windows),
            "recordings_without_the_channels": without,
            "rate_hz": RATE_HZ,
        },
    )


def _list_recordings(folder: Path, excluded: Sequence[str]) -> list[_Recording]:
    """Return the recordings with seizures of the cases that are there."""
    recordings = []
    for case in CASES:
        if case in excluded or not (folder / case).is_dir():
            continue
        for name, seizures in read_summary(folder / case / f"{case}-summary.txt").items():
            if seizures:
                recordings.append(_Recording(case, folder / case / name, seizures))
    if not recordings:
        raise DataError(str(folder), "holds no CHB-MIT cases (chb01 and so on)")
    return recordings


def _read_windows(recording: _Recording, rng: np.random.Generator) -> Split | None:
    """Return the balanced windows of a recording, None where it lacks the channels."""
    with EdfRecording(recording.path) as edf:
        if edf.montage is None:
            return None
        length_s = edf.samples / RATE_HZ
        if recording.seizures[-1].end_s > length_s:
            raise DataError(
                str(recording.path),
                f"has {length_s:g} s, but a seizure at {recording.seizures[-1].end_s} s",
            )
        seizure, rest = place_windows(recording.seizures, edf.samples)
        count = min(len(seizure), len(rest))
        starts = [np.sort(rng.choice(s, count, replace=False)) for s in (rest, seizure)]
        x = [edf.read(int(s) - MARGIN, WINDOW + 2 * MARGIN) for part in starts for s in part]
    shape = (-1, WINDOW + 2 * MARGIN, 2)
    y = np.repeat(np.arange(len(LABELS), dtype=np.int64), count)
    return Split(np.array(x, np.float32).reshape(shape), y)


def place_windows(seizures: Sequence[Seizure], samples: int) -> tuple[Array, Array]:
    """Return where windows may begin: wholly in a seizure, and far from all of them.

    No two windows of a kind overlap, and each leaves a margin at the ends of the recording.

    Args:
        seizures: Those of the recording.
        samples: Its length.

    Returns:
        First samples of the windows in seizures and of those at rest, each rising.
    """
    rate = round(RATE_HZ)
    seizure = [
        np.arange(max(s.start_s * rate, MARGIN), s.end_s * rate - WINDOW + 1, WINDOW)
        for s in seizures
    ]
    inside = np.concatenate([*seizure, np.empty(0, np.int64)])
    inside = inside[inside + WINDOW + MARGIN <= samples]
    rest = np.arange(MARGIN, samples - WINDOW - MARGIN + 1, WINDOW)
    for s in seizures:
        after = rest >= (s.end_s + GUARD_S) * rate
        rest = rest[(rest + WINDOW <= (s.start_s - GUARD_S) * rate) | after]
    return inside.astype(np.int64), rest.astype(np.int64)


def _deal(
    windows: Mapping[_Recording, Split],
    group: Callable[[_Recording], str],
    rng: np.random.Generator,
    folder: Path,
) -> list[Split]:
    """Deal whole groups of recordings into train, validation and test."""
    groups = sorted({group(recording) for recording in windows})
    if len(groups) < MIN_GROUPS:
        raise DataError(
            str(folder),
            f"expected at least {MIN_GROUPS} recordings or patients with windows of both classes,"
            f" received {len(groups)}",
        )
    dealt = [{groups[i] for i in part} for part in deal(len(groups), rng)]
    return [joined([s for r, s in windows.items() if group(r) in part]) for part in dealt]
