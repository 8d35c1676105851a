"""Tests of the streaming resampler; tests/optimizer holds it against SciPy."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import ConfigError
from headtail.preprocess.resample import Resampler, ratio

RATES = st.sampled_from([(360, 125), (125, 360), (250, 125), (173.61, 125), (125, 125), (100, 300)])


def resample(signal: np.ndarray, rate_in_hz: float, rate_out_hz: float) -> np.ndarray:
    """Resample in one push."""
    resampler = Resampler(rate_in_hz, rate_out_hz)
    return np.concatenate((resampler.push(signal), resampler.flush()))


def test_mit_bih_ratio_is_25_to_72() -> None:
    assert Fraction(25, 72) == ratio(360, 125)


@pytest.mark.parametrize("frequency_hz", [1, 10, 40])
def test_sine_below_the_band_edge_passes(frequency_hz: float) -> None:
    """A sine comes out as the same sine at the new rate, away from the ends."""
    sine = np.sin(2 * np.pi * frequency_hz * np.arange(3600) / 360)
    expected = np.sin(2 * np.pi * frequency_hz * np.arange(1250) / 125)
    np.testing.assert_allclose(expected[50:-50], resample(sine, 360, 125)[50:-50], atol=2e-3)


def test_sine_above_the_new_band_vanishes() -> None:
    """What 125 Hz cannot carry does not fold back into the signal."""
    sine = np.sin(2 * np.pi * 90 * np.arange(3600) / 360)
    assert np.abs(resample(sine, 360, 125)[50:-50]).max() < 5e-3


@pytest.mark.parametrize("count", [1, 2, 71, 72, 73, 1000])
def test_every_started_period_gives_an_output(count: int) -> None:
    """N samples give ceil(25 N / 72) outputs, and a constant stays one."""
    out = resample(np.full(count, 2.5), 360, 125)
    assert -(-count * 25 // 72) == len(out)
    np.testing.assert_allclose(out, 2.5, rtol=1e-3)


@settings(max_examples=50, deadline=None)
@given(RATES, st.lists(st.integers(0, 300), max_size=8), st.integers(0, 2**32 - 1))
def test_cuts_do_not_matter(rates: tuple[float, float], lengths: list[int], seed: int) -> None:
    """The output is the same, to the last bit, however the samples were cut into pushes."""
    signal = np.random.default_rng(seed).normal(size=sum(lengths))
    resampler = Resampler(*rates)
    pieces = np.split(signal, np.cumsum(lengths)[:-1]) if lengths else []
    actual = np.concatenate([*(resampler.push(p) for p in pieces), resampler.flush()])
    np.testing.assert_array_equal(resample(signal, *rates), actual)


def test_memory_does_not_grow() -> None:
    """After an hour of signal the resampler holds less than a second of it."""
    resampler = Resampler(360, 125)
    for _ in range(3600):
        resampler.push(np.zeros(360))
    assert len(resampler._held) < 360


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf"), 1e-300, 360.0001234567])
def test_rates_without_a_ratio_are_refused(rate_hz: float) -> None:
    with pytest.raises(ConfigError, match="preprocess step 'resample': expected"):
        Resampler(rate_hz, 125)
