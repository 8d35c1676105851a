"""Synthetic ECG: the data at hand where there is no real one. It resembles; it proves nothing.

Each beat is a sum of Gaussians, one per wave, as in McSharry et al., IEEE Trans. Biomed. Eng.
50(3), 2003; class and patient change their heights and widths, and the class changes the rhythm.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headtail.preprocess.pipeline import Pipeline
from headtail.preprocess.step import Signal
from optimizer.data.aami import LABELS, RATE_HZ
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

NAME = "synthetic ECG"
RECORDS = 24
RECORD_S = 300.0
MIN_RR_S = 0.3


@dataclass(frozen=True, slots=True)
class Wave:
    """One Gaussian of a beat."""

    at_s: float
    """Centre, from the R peak."""
    height_mv: float
    width_s: float
    """Standard deviation."""


@dataclass(frozen=True, slots=True)
class BeatShape:
    """What one class of beats looks like and how it comes in the rhythm."""

    waves: tuple[Wave, ...]
    share: float
    """Share of the beats."""
    early: float
    """R-R interval before it, in usual intervals."""
    late: float
    """R-R interval after it, in usual intervals: the compensatory pause."""


_P = Wave(-0.18, 0.15, 0.024)
_T = Wave(0.26, 0.30, 0.050)
# Shapes after any textbook of electrocardiography: S comes early with an odd P wave, V early, wide
# and without P, its T wave against it, F between N and V, Q (paced) with a spike before a wide QRS.
SHAPES: Mapping[str, BeatShape] = {
    "N": BeatShape(
        (_P, Wave(-0.03, -0.12, 0.010), Wave(0, 1.2, 0.011), Wave(0.03, -0.25, 0.010), _T),
        0.40, 1.0, 1.0,
    ),
    "S": BeatShape(
        (
            Wave(-0.13, -0.12, 0.020), Wave(-0.03, -0.10, 0.010), Wave(0, 1.1, 0.011),
            Wave(0.03, -0.22, 0.010), Wave(0.23, 0.22, 0.045),
        ),
        0.15, 0.68, 1.1,
    ),
    "V": BeatShape(
        (Wave(-0.07, -0.25, 0.030), Wave(0, 1.5, 0.036), Wave(0.10, -0.5, 0.040),
         Wave(0.30, -0.45, 0.060)),
        0.15, 0.65, 1.35,
    ),
    "F": BeatShape(
        (Wave(-0.16, 0.10, 0.024), Wave(0, 1.3, 0.022), Wave(0.06, -0.35, 0.024),
         Wave(0.28, -0.05, 0.055)),
        0.15, 0.92, 1.05,
    ),
    "Q": BeatShape(
        (Wave(-0.05, 0.7, 0.004), Wave(0, 0.9, 0.030), Wave(0.08, -0.6, 0.035),
         Wave(0.32, 0.45, 0.060)),
        0.15, 1.0, 1.0,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SyntheticRecord:
    """One lead of one invented patient."""

    rate_hz: float
    signal: Signal
    """Millivolts, shape (N,)."""
    samples: Labels
    """R peaks, shape (beats,), rising."""
    classes: Labels
    """Index into LABELS, shape (beats,)."""


def make_record(
    duration_s: float, rng: np.random.Generator, rate_hz: float = RATE_HZ
) -> SyntheticRecord:
    """Invent one patient's ECG.

    Args:
        duration_s: Length.
        rng: Draws patient, rhythm and noise.
        rate_hz: Sampling rate.
    """
    count = round(duration_s * rate_hz)
    times_s, classes = _rhythm(duration_s, rng)
    signal = _disturbance(count, rate_hz, rng)
    stretch = rng.normal(1.0, 0.08, 2).clip(0.8, 1.2)
    patient = {label: _patient_waves(SHAPES[label], rng) for label in LABELS}
    reach = round(0.55 * rate_hz)
    for time_s, number in zip(times_s, classes, strict=True):
        start, stop = max(0, round(time_s * rate_hz) - reach), round(time_s * rate_hz) + reach
        t = (np.arange(start, min(stop, count)) / rate_hz - time_s) / stretch[0]
        gain = stretch[1] * rng.normal(1.0, 0.06)
        for wave in patient[LABELS[number]]:
            signal[start:stop] += (
                gain * wave.height_mv * np.exp(-0.5 * ((t - wave.at_s) / wave.width_s) ** 2)
            )
    samples = np.rint(times_s * rate_hz).astype(np.int64)
    return SyntheticRecord(rate_hz, signal, samples, classes)


def load_synthetic(config: DataConfig, progress: Progress = silent) -> Dataset:
    """Make windows of invented patients, in the splits that `config` names.

    `paper` deals the beats of all patients at random, `inter_patient` deals whole patients.
    """
    config.check_protocol("paper", "inter_patient")
    rng = np.random.default_rng(config.seed)
    pipeline = Pipeline(config.steps)
    parts = []
    for done in range(RECORDS):
        progress("making synthetic ECG", done, RECORDS)
        record = make_record(RECORD_S, rng)
        cut = pipeline.windows_at(record.signal, record.rate_hz, record.samples)
        parts.append(Split(np.stack([window.values for window in cut]), record.classes))
    progress("making synthetic ECG", RECORDS, RECORDS)
    if config.protocol == "paper":
        beats = joined(parts)
        drawn = capped(beats, int(np.bincount(beats.y).min()), rng)
        train, validation, test = split_at_random(drawn.x, drawn.y, rng)
    else:
        half, quarter = RECORDS // 2, 3 * RECORDS // 4
        train, validation, test = (
            joined(p) for p in (parts[:half], parts[half:quarter], parts[quarter:])
        )
    return Dataset(
        name=NAME,
        train=capped(train, config.max_train_per_class, rng),
        validation=validation,
        test=test,
        labels=LABELS,
        steps=config.steps,
        protocol=f"synthetic {config.protocol}",
        is_synthetic=True,
        notes={"records": RECORDS, "record_s": RECORD_S},
    )


def _rhythm(duration_s: float, rng: np.random.Generator) -> tuple[Signal, Labels]:
    """Draw the times of the R peaks and the class of each beat."""
    usual_s = rng.uniform(0.65, 1.0)
    most = int(duration_s / MIN_RR_S) + 1
    shares = [SHAPES[label].share for label in LABELS]
    classes = rng.choice(len(LABELS), most, p=shares)
    shapes = [SHAPES[LABELS[number]] for number in classes]
    early = np.array([shape.early for shape in shapes])
    late = np.array([shape.late for shape in shapes])
    breath = 1 + 0.04 * np.sin(np.arange(most) * rng.uniform(0.9, 1.6))
    interval_s = usual_s * breath * rng.normal(1.0, 0.02, most)
    interval_s[1:] *= early[1:] * late[:-1]
    times_s = 0.4 + np.cumsum(np.maximum(interval_s, MIN_RR_S))
    keep = times_s < duration_s - 0.1
    return times_s[keep], classes[keep].astype(np.int64)


def _patient_waves(shape: BeatShape, rng: np.random.Generator) -> tuple[Wave, ...]:
    """Return a class's waves as this patient has them."""
    return tuple(
        Wave(
            wave.at_s + rng.normal(0, 0.004) * (wave.at_s != 0),
            wave.height_mv * rng.normal(1.0, 0.12),
            wave.width_s * rng.uniform(0.85, 1.15),
        )
        for wave in shape.waves
    )


def _disturbance(count: int, rate_hz: float, rng: np.random.Generator) -> Signal:
    """Return baseline wander (breathing), mains hum and muscle noise, in millivolts."""
    t = np.arange(count) / rate_hz
    wander = sum(
        rng.uniform(0.02, 0.12) * np.sin(2 * np.pi * (rng.uniform(0.05, 0.4) * t + rng.uniform()))
        for _ in range(3)
    )
    hum = rng.uniform(0.0, 0.01) * np.sin(2 * np.pi * 50 * t)
    return np.asarray(wander + hum + rng.normal(0, rng.uniform(0.01, 0.03), count))
