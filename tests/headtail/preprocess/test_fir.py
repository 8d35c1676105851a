"""Tests of the streaming FIR filter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.preprocess.fir import StreamingFir, band_pass


def gain(kernel: np.ndarray, frequency_hz: float, rate_hz: float) -> float:
    """Return the amplitude gain of a symmetric kernel."""
    n = np.arange(len(kernel)) - len(kernel) // 2
    return abs(float(np.sum(kernel * np.cos(2 * np.pi * frequency_hz / rate_hz * n))))


@pytest.mark.parametrize("rate_hz", [125.0, 250.0, 360.0, 1000.0])
def test_band_pass_keeps_its_middle_and_stops_the_rest(rate_hz: float) -> None:
    """The response is one in mid-band, a half at the edges, nothing at rest and far above."""
    kernel = band_pass(8, 20, rate_hz, round(0.4 * rate_hz))
    assert gain(kernel, 14, rate_hz) == pytest.approx(1)
    assert gain(kernel, 8, rate_hz) == pytest.approx(0.5, abs=0.05)
    assert gain(kernel, 20, rate_hz) == pytest.approx(0.5, abs=0.05)
    assert gain(kernel, 0, rate_hz) == pytest.approx(0, abs=1e-12)
    assert gain(kernel, 40, rate_hz) < 0.01


def test_output_stands_where_the_input_does() -> None:
    """A single sample comes out as the kernel, centred on it."""
    signal = np.zeros(9)
    signal[4] = 1
    fir = StreamingFir(np.array([0.25, 0.5, 0.25]))
    out = np.concatenate((fir.push(signal), fir.flush()))
    np.testing.assert_array_equal([0, 0, 0, 0.25, 0.5, 0.25, 0, 0, 0], out)


def test_ends_are_taken_to_stand_still() -> None:
    """A constant passes a kernel of sum one unchanged, ends included."""
    fir = StreamingFir(np.full(5, 0.2))
    out = np.concatenate((fir.push(np.full(7, 3.0)), fir.flush()))
    np.testing.assert_allclose(np.full(7, 3.0), out, rtol=1e-15)


def test_empty_signal_gives_empty_output() -> None:
    fir = StreamingFir(np.full(5, 0.2))
    assert 0 == len(fir.push(np.empty(0))) == len(fir.flush())


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_cuts_do_not_matter(lengths: list[int], half: int, seed: int) -> None:
    """The output is the same, to the last bit, however the samples were cut into pushes."""
    rng = np.random.default_rng(seed)
    signal, kernel = rng.normal(size=sum(lengths)), rng.normal(size=2 * half + 1)
    kernel += kernel[::-1]
    whole, cut = StreamingFir(kernel), StreamingFir(kernel)
    expected = np.concatenate((whole.push(signal), whole.flush()))
    pieces = np.split(signal, np.cumsum(lengths)[:-1]) if lengths else []
    actual = np.concatenate([*(cut.push(piece) for piece in pieces), cut.flush()])
    assert len(signal) == len(expected)
    np.testing.assert_array_equal(expected, actual)
