"""Tests of the R-peak detector on signals with known peaks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.preprocess.r_peaks import RPeakDetector, place_annotated

RATE_HZ = 125.0


def detect(signal: np.ndarray, rate_hz: float = RATE_HZ) -> list[int]:
    """Detect in one push."""
    detector = RPeakDetector(rate_hz)
    return detector.push(signal) + detector.flush()


@pytest.mark.parametrize("rate_hz", [100.0, 125.0, 250.0, 360.0, 1000.0])
@pytest.mark.parametrize("rr_s", [0.4, 0.8, 1.5])
def test_finds_every_peak_and_no_other(make_ecg, rate_hz: float, rr_s: float) -> None:
    """Each R peak is found within 12 ms, at slow and fast rhythm, at any rate."""
    signal, peaks = make_ecg(rate_hz=rate_hz, rr_s=rr_s)
    found = np.array(detect(signal, rate_hz))
    assert len(peaks) == len(found)
    assert np.abs(found - peaks).max() <= max(1, 0.012 * rate_hz)


def test_sign_and_gain_do_not_matter(make_ecg) -> None:
    """An inverted lead in microvolts has its peaks in the same places."""
    signal, _ = make_ecg(rate_hz=RATE_HZ)
    assert detect(signal) == detect(-1000 * signal)


def test_weak_beat_is_found_by_searching_back(make_ecg) -> None:
    """A beat of a quarter of the usual height is not lost."""
    signal, peaks = make_ecg(rate_hz=RATE_HZ, noise=0.001)
    weak = slice(peaks[10] - 15, peaks[10] + 15)
    signal[weak] *= 0.25
    found = np.array(detect(signal))
    assert np.abs(found - peaks[10]).min() <= 3


def test_recovers_after_an_artefact(make_ecg) -> None:
    """A spike of fifty times the usual height costs at most the beats of the next five seconds."""
    signal, peaks = make_ecg(rate_hz=RATE_HZ, duration_s=30)
    signal[600:603] += 50
    found = np.array(detect(signal))
    later = peaks[peaks > 600 + 5 * RATE_HZ]
    assert all(np.abs(found - peak).min() <= 3 for peak in later)


def test_flat_line_has_no_beats_and_costs_no_memory() -> None:
    """A loose electrode for an hour gives nothing and is not kept."""
    detector = RPeakDetector(RATE_HZ)
    assert [] == [peak for _ in range(3600) for peak in detector.push(np.zeros(125))]
    assert len(detector._placer._held) < 5 * RATE_HZ


def test_beat_before_a_flat_line_comes_out_in_time(make_ecg) -> None:
    """The last beat does not wait for another one."""
    signal, peaks = make_ecg(rate_hz=RATE_HZ)
    detector = RPeakDetector(RATE_HZ)
    found = detector.push(np.concatenate((signal, np.full(250, signal[-1]))))
    assert len(peaks) == len(found)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 2500), max_size=20), seed=st.integers(0, 2**32 - 1))
def test_cuts_do_not_matter(make_ecg, cuts: list[int], seed: int) -> None:
    """The peaks are the same however the samples were cut, in noise and gaps too."""
    rng = np.random.default_rng(seed)
    signal, _ = make_ecg(rate_hz=RATE_HZ, noise=0.05)
    signal = signal * np.repeat(rng.uniform(0, 2, 50), 50)
    signal[1000 : 1000 + int(rng.integers(1, 500))] = 0
    detector = RPeakDetector(RATE_HZ)
    pieces = np.split(signal, sorted(cuts))
    actual = [peak for piece in pieces for peak in detector.push(piece)] + detector.flush()
    assert detect(signal) == actual
    assert sorted(set(actual)) == actual


def test_annotated_peaks_move_to_the_extremum(make_ecg) -> None:
    """Marks that miss by up to 80 ms are put where the detector puts the beat."""
    signal, peaks = make_ecg(rate_hz=RATE_HZ)
    shift = np.random.default_rng(1).integers(-10, 11, len(peaks))
    assert detect(signal) == place_annotated(signal, RATE_HZ, peaks + shift).tolist()
