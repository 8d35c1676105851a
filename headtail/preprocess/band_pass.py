"""Window step `band_pass`: filter each channel of a window and drop the filter's run-in."""

from typing import Annotated

import msgspec
import numpy as np

from headtail.errors import ShapeMismatch
from headtail.preprocess.fir import band_pass
from headtail.preprocess.step import Parameters
from headtail.tensor import Array

Hertz = Annotated[float, msgspec.Meta(gt=0, le=100_000)]


class BandPass(Parameters, frozen=True):
    """Keep `low_hz` to `high_hz` along the first axis; the window loses `half` samples at each end.

    What remains equals the same stretch of a long recording that was filtered before it was cut:
    the ends that are lost are those that would need samples outside the window.
    """

    low_hz: Hertz
    high_hz: Hertz
    rate_hz: Hertz
    """Sampling rate of the window."""
    half: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
    """Taps of the filter on either side of the middle one; rate_hz / low_hz is a good number."""

    def __post_init__(self) -> None:
        if not self.low_hz < self.high_hz < self.rate_hz / 2:
            raise ValueError("expected low_hz < high_hz < rate_hz / 2")

    def apply(self, window: Array) -> Array:
        """Return the filtered window, 2 `half` shorter.

        Raises:
            ShapeMismatch: If the window is no longer than that.
        """
        taps = 2 * self.half + 1
        if len(window) < taps:
            raise ShapeMismatch(
                "preprocess step 'band_pass'", (taps, *window.shape[1:]), window.shape
            )
        kernel = band_pass(self.low_hz, self.high_hz, self.rate_hz, self.half)
        columns = window.reshape(len(window), -1).T
        filtered = [np.convolve(column, kernel, mode="valid") for column in columns]
        return np.stack(filtered, axis=1).reshape(-1, *window.shape[1:])
