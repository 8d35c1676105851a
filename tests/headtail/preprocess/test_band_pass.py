"""Tests of the steps for EEG windows: band-pass, standardise, concatenate."""

import numpy as np
import pytest

from headtail.bundle.manifest import Step
from headtail.errors import ConfigError, ShapeMismatch
from headtail.preprocess.band_pass import BandPass
from headtail.preprocess.pipeline import Pipeline
from headtail.preprocess.window import Concatenate, Standardise

RATE_HZ = 256.0
STEP = BandPass(low_hz=1.0, high_hz=30.0, rate_hz=RATE_HZ, half=256)


def test_window_equals_the_filtered_recording() -> None:
    """A cut window, filtered, is the same stretch of SciPy's filter over the whole recording."""
    signal = pytest.importorskip("scipy.signal", reason="comes with the optimizer's extra")
    from headtail.preprocess.fir import band_pass

    recording = np.random.default_rng(1).normal(size=(5000, 2))
    kernel = band_pass(1.0, 30.0, RATE_HZ, 256)
    whole = signal.lfilter(kernel, 1.0, recording, axis=0)[512:]
    window = STEP.apply(recording[700 : 700 + 1536])
    assert (1024, 2) == window.shape
    np.testing.assert_allclose(window, whole[700 : 700 + 1024], atol=1e-12)


@pytest.mark.parametrize(
    ("hertz", "low", "high"), [(0.0, 0, 1e-9), (0.2, 0, 0.1), (10, 0.99, 1.01), (50, 0, 0.01)]
)
def test_tones_pass_or_stay(hertz: float, low: float, high: float) -> None:
    """10 Hz passes unchanged; an offset, drift and the mains' 50 Hz do not."""
    t = np.arange(4096) / RATE_HZ
    filtered = STEP.apply(np.cos(2 * np.pi * hertz * t))
    assert low <= np.abs(filtered).max() <= high


def test_bad_band_and_short_window_are_named() -> None:
    with pytest.raises(ConfigError, match="'band_pass': expected low_hz < high_hz < rate_hz / 2"):
        Pipeline([Step("band_pass", {"low_hz": 30, "high_hz": 1, "rate_hz": 256, "half": 8})])
    with pytest.raises(ShapeMismatch, match=r"'band_pass'.*513, 2.*512, 2"):
        STEP.apply(np.zeros((512, 2)))


def test_standardise_works_on_each_channel() -> None:
    """Mean 0, deviation 1; a constant channel becomes zeros, even where rounding speckles it."""
    rng = np.random.default_rng(2)
    window = np.stack([rng.normal(5, 3, 500), np.full(500, 0.1)], axis=1).astype(np.float32)
    values = Standardise().apply(window)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(axis=0), [1, 0], atol=1e-6)
    np.testing.assert_allclose(
        Standardise().apply(np.array([1.0, 2, 3])), [-(1.5**0.5), 0, 1.5**0.5]
    )


def test_concatenate_lays_channels_end_to_end() -> None:
    assert [1, 3, 5, 2, 4, 6] == Concatenate().apply(np.array([[1, 2], [3, 4], [5, 6]])).tolist()
    with pytest.raises(ShapeMismatch, match="concatenate"):
        Concatenate().apply(np.zeros(3))
