"""The streaming resampler against an independent one: SciPy's."""

import numpy as np
import pytest
from scipy.signal import resample_poly

from headtail.preprocess.resample import Resampler


@pytest.mark.parametrize(("up", "down"), [(25, 72), (72, 25), (1, 2), (3, 1), (125, 128)])
@pytest.mark.parametrize("count", [1, 100, 5000])
def test_resampler_equals_scipy(up: int, down: int, count: int) -> None:
    """Every output is that of resample_poly with standing-still ends, to rounding."""
    signal = np.random.default_rng(count).normal(size=count)
    resampler = Resampler(1000 * down, 1000 * up)
    actual = np.concatenate((resampler.push(signal), resampler.flush()))
    expected = resample_poly(signal, up, down, padtype="edge")
    np.testing.assert_allclose(expected, actual, atol=1e-12)
