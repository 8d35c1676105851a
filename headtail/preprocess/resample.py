"""Step `resample`: bring a signal to another sampling rate while it streams."""

from fractions import Fraction
from typing import Annotated

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from headtail.errors import ConfigError
from headtail.preprocess.step import Parameters, Signal

# Taps per side in periods of the slower rate, and the Kaiser shape: the defaults of
# scipy.signal.resample_poly, so that anyone can check the result against it.
HALF_PERIODS = 10
KAISER_BETA = 5.0
MAX_FACTOR = 20_000
# Values gathered at once; bounds the memory of a long push.
MAX_GATHERED = 1 << 18


class Resample(Parameters, frozen=True):
    """Resample to `rate_hz`; 360 Hz to 125 Hz is a ratio of 25/72."""

    rate_hz: Annotated[float, msgspec.Meta(ge=1, le=100_000)]

    def start(self, rate_hz: float) -> "Resampler":
        """Begin a stream that comes in at `rate_hz`."""
        return Resampler(rate_hz, self.rate_hz)


class Resampler:
    """Polyphase resampler by a ratio of whole numbers, without delay.

    Output n stands at the time n / rate_out; N samples give ceil(N up / down) outputs. Before the
    first sample and after the last the signal is taken to stand still. The result does not depend
    on how the samples were cut into pushes, to the last bit.

    Source: Crochiere & Rabiner, Multirate Digital Signal Processing, 1983, section 3.3.
    """

    def __init__(self, rate_in_hz: float, rate_out_hz: float) -> None:
        """Prepare the filter bank.

        Raises:
            ConfigError: If the ratio of the rates is no ratio of numbers up to MAX_FACTOR.
        """
        self.ratio = ratio(rate_in_hz, rate_out_hz)
        self._up, self._down = self.ratio.numerator, self.ratio.denominator
        self._bank, self._first = filter_bank(self._up, self._down)
        self._taps = self._bank.shape[1]
        # Samples [begin, end) are held; begin is below zero while the standing-still part is.
        self._held: Signal = np.empty(0)
        self._begin = int(self._first.min())
        self._end = 0
        self._next = 0

    def push(self, samples: Signal) -> Signal:
        """Return the outputs that became known, shape (M,), M >= 0."""
        if len(samples) == 0 or self.ratio == 1:
            return samples
        if self._end == 0:
            self._held = np.full(-self._begin, samples[0])
        self._held = np.concatenate((self._held, samples))
        self._end += len(samples)
        return self._emit(self._end, None)

    def flush(self) -> Signal:
        """Return the last outputs."""
        if self._end == 0:
            return np.empty(0)
        total = -(-self._end * self._up // self._down)
        self._held = np.concatenate((self._held, np.full(self._taps, self._held[-1])))
        return self._emit(self._end + self._taps, total)

    def _emit(self, end: int, stop: int | None) -> Signal:
        """Compute outputs from `_next` whose samples all lie before `end`, up to `stop`."""
        highest = end * self._up // self._down + 1 if stop is None else stop
        n = np.arange(self._next, highest)
        starts = n // self._up * self._down + self._first[n % self._up]
        n = n[: np.searchsorted(starts, end - self._taps, side="right")]
        starts = starts[: len(n)] - self._begin
        out = np.empty(len(n))
        windows = sliding_window_view(self._held, self._taps) if len(n) else None
        step = max(1, MAX_GATHERED // self._taps)
        for row in range(0, len(n), step):
            part = slice(row, row + step)
            assert windows is not None
            rows = windows[starts[part]]
            np.einsum("ij,ij->i", rows, self._bank[n[part] % self._up], out=out[part])
        self._next += len(n)
        self._forget()
        return out

    def _forget(self) -> None:
        cycle, phase = divmod(self._next, self._up)
        keep = cycle * self._down + int(self._first[phase])
        if keep > self._begin:
            self._held = self._held[keep - self._begin :].copy()
            self._begin = keep


def ratio(rate_in_hz: float, rate_out_hz: float) -> Fraction:
    """Return rate_out / rate_in as a fraction.

    Raises:
        ConfigError: If a rate is not positive, or the fraction needs numbers over MAX_FACTOR.
    """
    if not (0 < rate_in_hz < float("inf") and 0 < rate_out_hz < float("inf")):
        raise ConfigError(
            "preprocess step 'resample'",
            f"expected positive rates, received {rate_in_hz:g} and {rate_out_hz:g} Hz",
        )
    exact = Fraction(rate_out_hz) / Fraction(rate_in_hz)
    near = exact.limit_denominator(MAX_FACTOR)
    # A whole record may drift by far less than a sample: 1e-9 of 24 h is 0.1 ms.
    if near.numerator not in range(1, MAX_FACTOR + 1) or abs(near / exact - 1) > 1e-9:
        raise ConfigError(
            "preprocess step 'resample'",
            f"expected rates in a ratio of numbers up to {MAX_FACTOR},"
            f" received {rate_in_hz:g} to {rate_out_hz:g} Hz",
        )
    return near


def filter_bank(up: int, down: int) -> tuple[Signal, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the polyphase filters of a ratio up/down.

    Output n = m up + p is the dot product of row p with the samples from m down + first[p] on.

    Returns:
        Rows, shape (up, taps), and the first sample of each phase, shape (up,).
    """
    slower = max(up, down)
    half = HALF_PERIODS * slower
    n = np.arange(-half, half + 1)
    low_pass = np.kaiser(2 * half + 1, KAISER_BETA) * np.sinc(n / slower)
    low_pass *= up / low_pass.sum()
    taps = 2 * half // up + 1
    phase = np.arange(up) * down
    first = -((half - phase) // up)
    index = phase[:, None] - (first[:, None] + np.arange(taps)) * up + half
    inside = (index >= 0) & (index <= 2 * half)
    bank = np.where(inside, low_pass[np.clip(index, 0, 2 * half)], 0.0)
    return bank, first.astype(np.int64)
