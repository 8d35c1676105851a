"""Affines for few bits: the range is clipped where that makes the mean squared error least.

With 16 levels the step is coarse, and a few far values would make it coarser for all the others.
What is known of a tensor are its range and a histogram, so calibration windows pass by once for
each and need no memory. The error is convex in neither scale nor zero point, so a grid is searched.

Source of the idea: Sung et al., arXiv:1511.06488 (quantisation by least squared error); Banner et
al., arXiv:1810.05723, sec. 3 (clipping of activations for 4 bits).
"""

from dataclasses import dataclass, field

import numpy as np

from headtail.tensor import Array
from headtail.wire import STORED_RANGES, Affine, Encoding, calibrate

_BINS = 4096  # the finest step that is tried is some ten bins wide
_RATIOS = np.geomspace(1.06, 0.04, 120)
"""Steps tried, as shares of the step that spans the range. A rounded zero point moves the range, so
a little more than all of it is tried too."""
_STRIDE = 5  # every so many of them first, with all zero points; then those about the best


@dataclass(slots=True)
class Distribution:
    """How the values of one tensor are spread over a range known before."""

    low: float
    high: float
    """Range of all values, finite."""
    _counts: Array = field(init=False)
    _sums: Array = field(init=False)

    def __post_init__(self) -> None:
        """Begin empty."""
        self._counts = np.zeros(_BINS)
        self._sums = np.zeros(_BINS)

    def add(self, array: Array) -> None:
        """Count the values of `array`, any shape, all within the range."""
        values = array.astype(np.float64).reshape(-1)
        per_unit = _BINS / max(self.high - self.low, float(np.finfo(np.float32).tiny))
        index = np.minimum(((values - self.low) * per_unit).astype(np.int64), _BINS - 1)
        self._counts += np.bincount(index, minlength=_BINS)
        self._sums += np.bincount(index, weights=values, minlength=_BINS)

    def affine(self, encoding: Encoding) -> Affine:
        """Return the affine of least mean squared error on what was counted.

        A bin's values are taken for their mean. Zero is among the stored values; where nothing is
        better, the affine is the one that spans the range.

        Args:
            encoding: int8 or int4.
        """
        spanning = calibrate(np.array([self.low, self.high]), encoding)
        least, largest = STORED_RANGES[encoding]
        width = max(0.0, self.high) - min(0.0, self.low)
        scales = (width / (largest - least) * _RATIOS).astype(np.float32).astype(np.float64)
        if scales[-1] < np.finfo(np.float32).tiny:
            return spanning
        coarse = self._best(scales[::_STRIDE], self._zero_points(least, largest), encoding)
        at = int(np.abs(scales - coarse.scale).argmin())
        near = scales[max(0, at - _STRIDE) : at + _STRIDE + 1]
        zero_points = range(
            max(least, coarse.zero_point - 1), min(largest, coarse.zero_point + 1) + 1
        )
        found = self._best(near, zero_points, encoding)
        return min(spanning, found, key=lambda affine: self._error(affine, encoding))

    def _zero_points(self, least: int, largest: int) -> range:
        """Return those worth trying: values of one sign need no levels beyond zero."""
        if self.low >= 0:
            return range(least, least + 1)
        if self.high <= 0:
            return range(largest, largest + 1)
        return range(least, largest + 1)

    def _best(self, scales: Array, zero_points: range, encoding: Encoding) -> Affine:
        errors = np.array([self._squared(scales, z, encoding) for z in zero_points])
        z, s = np.unravel_index(errors.argmin(), errors.shape)
        return Affine(float(scales[s]), zero_points[int(z)])

    def _error(self, affine: Affine, encoding: Encoding) -> float:
        return float(self._squared(np.array([affine.scale]), affine.zero_point, encoding)[0])

    def _squared(self, scales: Array, zero_point: int, encoding: Encoding) -> Array:
        """Return the sum of squared errors for each scale, shape (S,)."""
        least, largest = STORED_RANGES[encoding]
        seen = self._counts > 0
        counts = self._counts[seen]
        means, steps = self._sums[seen] / counts, scales[:, None]
        stored = means / steps
        np.rint(stored, out=stored)
        np.clip(stored, least - zero_point, largest - zero_point, out=stored)
        stored *= steps
        stored -= means
        stored *= stored
        return np.asarray(stored @ counts)


def fit_affine(array: Array, encoding: Encoding) -> Affine:
    """Return the affine that a bundle would have for values as these, any shape, finite.

    That of int8 spans the range, that of int4 has the least squared error.
    """
    if encoding is not Encoding.INT4:
        return calibrate(array, encoding)
    spread = Distribution(float(array.min()), float(array.max()))
    spread.add(array)
    return spread.affine(encoding)
