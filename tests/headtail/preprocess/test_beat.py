"""Tests of the beat windows against windows worked out by hand."""

import numpy as np
import pytest

from headtail.errors import ConfigError
from headtail.preprocess.beat import Beats

RATE_HZ = 100.0
BEATS = Beats(length=150)


def test_window_is_scaled_by_its_context_and_padded() -> None:
    """Peaks at 100, 180, 260: T = 80, so 96 samples from the peak, then zeros.

    The signal rises by one per sample. The window of 260 ends at 356; its ten seconds begin at 0,
    so its values are 260/355 to 355/355.
    """
    cutter = BEATS.start(RATE_HZ)
    beats = cutter.push(np.arange(500.0), [100, 180, 260], 0)
    assert [(100, 196), (180, 276), (260, 356)] == [(b.r_peak, b.end) for b in beats]
    np.testing.assert_allclose(np.arange(260, 356) / 355, beats[2].values[:96], rtol=1e-12)
    np.testing.assert_array_equal(np.zeros(54), beats[2].values[96:])


def test_interval_is_the_median_of_the_context_up_to_the_peak() -> None:
    """Of 50, 90 and 70 the median is 70; what comes after the peak does not count."""
    cutter = BEATS.start(RATE_HZ)
    beats = cutter.push(np.arange(600.0), [100, 150, 240, 310, 330], 0)
    assert [96, 60, 84, 84, 72] == [beat.end - beat.r_peak for beat in beats]


def test_intervals_older_than_the_context_are_forgotten() -> None:
    """After eleven seconds of silence the nominal interval of 0.8 s counts."""
    cutter = BEATS.start(RATE_HZ)
    beats = cutter.push(np.arange(2000.0), [100, 150, 1250], 0)
    assert [96, 60, 96] == [beat.end - beat.r_peak for beat in beats]


def test_scale_looks_back_ten_seconds_only() -> None:
    """A spike eleven seconds ago does not flatten the beat, one nine seconds ago does."""
    for spike, expected in ((100, 1.0), (300, 0.01)):
        signal = np.zeros(1500)
        signal[spike], signal[1200] = 100.0, 1.0
        beat = BEATS.start(RATE_HZ).push(signal, [1200], 0)[0]
        assert expected == beat.values[0]


def test_long_interval_ends_at_the_window_length() -> None:
    """1.2 x 1.5 s would be 180 samples; the window has 150."""
    beats = BEATS.start(RATE_HZ).push(np.arange(600.0), [100, 250], 0)
    assert 150 == beats[1].end - beats[1].r_peak
    assert 150 == len(beats[1].values)


def test_window_may_begin_before_the_peak() -> None:
    """Thirty samples ahead of the peak at 260, then the 96 of T = 80 that follow it."""
    cutter = Beats(length=150, before_s=0.3).start(RATE_HZ)
    beat = cutter.push(np.arange(500.0), [100, 180, 260], 0)[2]
    assert (260, 356) == (beat.r_peak, beat.end)
    np.testing.assert_allclose(np.arange(230, 356) / 355, beat.values[:126], rtol=1e-12)
    np.testing.assert_array_equal(np.zeros(24), beat.values[126:])


def test_what_lies_before_the_record_is_zero() -> None:
    """A peak at 10 with a begin 30 ahead: twenty zeros, then the record."""
    beat = Beats(length=150, before_s=0.3).start(RATE_HZ).push(np.arange(1.0, 501), [10], 0)[0]
    np.testing.assert_array_equal(np.zeros(20), beat.values[:20])
    np.testing.assert_allclose(np.arange(0, 106) / 105, beat.values[20:126], rtol=1e-12)


@pytest.mark.parametrize("before_s", [1.5, 9.0])
def test_a_window_that_would_end_before_its_peak_is_refused(before_s: float) -> None:
    with pytest.raises(ConfigError, match=r"before_s: expected less than the window's 1\.5 s"):
        Beats(length=150, before_s=before_s).start(RATE_HZ)


def test_flat_context_gives_zeros() -> None:
    """Where nothing moves there is no scale, and no division by zero."""
    beat = BEATS.start(RATE_HZ).push(np.full(500, 7.0), [100], 0)[0]
    np.testing.assert_array_equal(np.zeros(150), beat.values)


def test_window_waits_for_its_last_sample() -> None:
    """The window of 100 needs samples up to 195."""
    cutter = BEATS.start(RATE_HZ)
    assert [] == cutter.push(np.arange(195.0), [100], 0)
    assert [100] == [beat.r_peak for beat in cutter.push(np.array([195.0]), [], 0)]


def test_end_of_signal_pads_what_is_under_way() -> None:
    cutter = BEATS.start(RATE_HZ)
    cutter.push(np.arange(150.0), [100], 0)
    beat = cutter.flush()[0]
    assert 150 == beat.end
    np.testing.assert_array_equal(np.zeros(100), beat.values[50:])


def test_memory_does_not_grow() -> None:
    """After an hour a context is held, not the hour."""
    cutter = BEATS.start(RATE_HZ)
    for second in range(3600):
        cutter.push(np.zeros(100), [100 * second], 100 * second)
    assert len(cutter._held) <= 1300
    assert len(cutter._peaks) <= 11


@pytest.mark.parametrize("rate_hz", [30.0, 5000.0])
def test_rates_without_detector_are_refused(rate_hz: float) -> None:
    with pytest.raises(ConfigError, match="'beats': expected a signal of 60 to 4000 Hz, received"):
        BEATS.start(rate_hz)


def test_window_longer_than_its_context_is_refused() -> None:
    with pytest.raises(ConfigError, match="length: expected at most context_s = 100 samples"):
        Beats(length=101, context_s=1).start(RATE_HZ)
