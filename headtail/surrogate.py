"""Surrogates of time: non-negative rates fitted to measurements by relative least squares."""

from dataclasses import dataclass

import numpy as np

from headtail.errors import DataError
from headtail.tensor import Array

RESAMPLES = 200
INTERVAL = (2.5, 97.5)  # percentiles of the resampled rates: 95 %
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Surrogate:
    """One rate for each feature: seconds = features @ rates."""

    rates: tuple[float, ...]
    uncertainties: tuple[float, ...]
    """Half of the 95 % interval of each rate, over resampled layers."""

    def predict_s(self, features: Array) -> Array:
        """Return seconds of shape (N,) for features of shape (N, F)."""
        seconds: Array = features @ np.asarray(self.rates)
        return seconds


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well predictions fit measurements."""

    count: int
    r2: float | None
    """Coefficient of determination of the seconds; None for measurements all alike."""
    r2_log: float | None
    """The same for their logarithms, in which small layers count as much as large ones."""
    median_error: float
    """Median of |predicted / measured - 1|."""
    worst_error: float


def fit_surrogate(features: Array, seconds: Array, rng: np.random.Generator) -> Surrogate:
    """Return the rates >= 0 that minimise the sum of squared relative errors.

    Args:
        features: Counts of each layer, shape (N, F), >= 0; a column of ones is a fixed cost.
        seconds: Measured times, shape (N,), > 0.
        rng: Draws the layers of each resample that the uncertainties come from.

    Raises:
        DataError: If there are fewer layers than rates, or values that are not finite, or times
            that are not above zero.
    """
    count, width = features.shape
    if count < width:
        raise DataError("surrogate", f"expected at least {width} layers, received {count}")
    if not np.isfinite(features).all() or not np.isfinite(seconds).all() or (seconds <= 0).any():
        raise DataError("surrogate", "expected finite counts and finite times above 0")
    rows, ones = features / seconds[:, np.newaxis], np.ones(count)
    rates = solve_nonnegative(rows, ones)
    drawn = [
        solve_nonnegative(rows[chosen], ones)
        for chosen in (rng.integers(0, count, count) for _ in range(RESAMPLES))
    ]
    low, high = np.percentile(drawn, INTERVAL, axis=0)
    return Surrogate(tuple(map(float, rates)), tuple(map(float, (high - low) / 2)))


def measure_agreement(measured: Array, predicted: Array) -> Agreement:
    """Return how well `predicted` fits `measured`, both of shape (N,), N >= 1, > 0."""
    errors = np.abs(predicted / measured - 1)
    with np.errstate(divide="ignore"):
        r2_log = _r2(np.log(measured), np.log(predicted))
    return Agreement(
        count=len(measured),
        r2=_r2(measured, predicted),
        r2_log=r2_log,
        median_error=float(np.median(errors)),
        worst_error=float(errors.max()),
    )


def solve_nonnegative(matrix: Array, target: Array) -> Array:
    """Return x >= 0 that minimises |matrix x - target|.

    Columns are scaled to one length first, so that counts of any size are solved alike.

    Args:
        matrix: Shape (N, F); a column of zeros gets the value 0.
        target: Shape (N,).

    Source: Lawson & Hanson, Solving Least Squares Problems, chapter 23, algorithm NNLS.
    """
    lengths = np.linalg.norm(matrix, axis=0)
    scale = np.where(lengths > 0, lengths, 1.0)
    scaled = matrix / scale
    width = scaled.shape[1]
    x, passive = np.zeros(width), np.zeros(width, dtype=bool)
    for _ in range(3 * width):
        gradient = np.where(passive, -np.inf, scaled.T @ (target - scaled @ x))
        enters = int(np.argmax(gradient))
        if gradient[enters] <= _TOLERANCE:
            break
        passive[enters] = True
        x = _stay_positive(scaled, target, x, passive)
    return x / scale


def _stay_positive(matrix: Array, target: Array, x: Array, passive: Array) -> Array:
    """Solve over the passive columns, and free those that would turn negative; changes them."""
    while passive.any():
        trial = np.zeros_like(x)
        trial[passive] = np.linalg.lstsq(matrix[:, passive], target, rcond=None)[0]
        falling = passive & (trial <= 0)
        if not falling.any():
            return trial
        steps = x[falling] / np.maximum(x[falling] - trial[falling], np.finfo(float).tiny)
        x = x + steps.min() * (trial - x)
        passive &= x > _TOLERANCE
        x = np.where(passive, x, 0.0)
    return np.zeros_like(x)


def _r2(measured: Array, predicted: Array) -> float | None:
    spread = float(((measured - measured.mean()) ** 2).sum())
    if spread == 0:
        return None
    return 1 - float(((measured - predicted) ** 2).sum()) / spread
