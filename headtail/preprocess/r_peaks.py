"""R peaks of an ECG found while it streams: band-pass, energy, thresholds, nearby extremum."""

import numpy as np
from numpy.typing import NDArray

from headtail.preprocess.fir import StreamingFir, band_pass
from headtail.preprocess.qrs_threshold import QrsThreshold, Top
from headtail.preprocess.step import Signal

Indices = NDArray[np.int64]

# Where QRS complexes stand out best from P and T waves, drift and muscle noise:
# Elgendi, Fast QRS Detection with an Optimized Knowledge-Based Method, PLoS ONE 8(9), 2013.
ENERGY_BAND_HZ = (8.0, 20.0)
# Wider, so that the extremum of a broad complex is the one a reader would mark.
PLACE_BAND_HZ = (4.0, 25.0)
BAND_HALF_S = 0.2
# The energy is averaged over about one QRS complex.
ENERGY_S = 0.14
# How far the R peak may lie from the middle of the energy.
REACH_S = 0.1
# The upper band edge and its slope must lie below half of it.
MIN_RATE_HZ = 60.0
MAX_RATE_HZ = 4000.0


class RPeakDetector:
    """Finds the R peaks of one lead; each comes out once it is certain, in rising order.

    That is 0.5 s after the peak, and up to 3.5 s where a weak beat is found by searching back. The
    result does not depend on how the samples were cut into pushes.
    """

    def __init__(self, rate_hz: float) -> None:
        """Design the filters for `rate_hz`, MIN_RATE_HZ to MAX_RATE_HZ."""
        half = max(1, round(BAND_HALF_S * rate_hz))
        width = 2 * max(1, round(ENERGY_S * rate_hz / 2)) + 1
        self._band = StreamingFir(band_pass(*ENERGY_BAND_HZ, rate_hz, half))
        self._energy = StreamingFir(np.full(width, 1 / width))
        self._placer = Placer(rate_hz)
        self._threshold = QrsThreshold(rate_hz)
        # Heights of samples [begin, ...): the last two, whose neighbours are not all known.
        self._heights: Signal = np.empty(0)
        self._begin = 0

    @property
    def oldest(self) -> int:
        """The earliest sample at which an R peak may still be reported."""
        waiting = self._threshold.oldest
        return (self._begin if waiting is None else waiting) - self._placer.reach

    def push(self, samples: Signal) -> list[int]:
        """Return the R peaks that became certain, as sample numbers."""
        self._placer.push(samples)
        band = self._band.push(samples)
        return self._place(self._tops(self._energy.push(band * band)))

    def flush(self) -> list[int]:
        """Return the last R peaks."""
        self._placer.flush()
        band = self._band.flush()
        found = self._tops(np.concatenate((self._energy.push(band * band), self._energy.flush())))
        return self._place(found + self._threshold.flush(self._begin + len(self._heights)))

    def _tops(self, energy: Signal) -> list[int]:
        """Offer the local maxima among the new energies; return the beats that became certain."""
        heights = np.concatenate((self._heights, np.sqrt(np.maximum(energy, 0.0))))
        if len(heights) < 3:
            self._heights = heights
            return []
        middle = heights[1:-1]
        tops = np.flatnonzero((middle > heights[:-2]) & (middle >= heights[2:])) + 1
        found = []
        for i, height in zip(tops.tolist(), heights[tops].tolist(), strict=True):
            found += self._threshold.offer(Top(self._begin + i, height))
        self._begin += len(heights) - 2
        self._heights = heights[-2:]
        return found + self._threshold.advance(self._begin + 1)

    def _place(self, found: list[int]) -> list[int]:
        placed = self._placer.place(found)
        self._placer.forget(self.oldest)
        return placed


class Placer:
    """Moves beats to the extremum of the QRS complex near them."""

    def __init__(self, rate_hz: float) -> None:
        """Design the filter for `rate_hz`."""
        half = max(1, round(BAND_HALF_S * rate_hz))
        self._band = StreamingFir(band_pass(*PLACE_BAND_HZ, rate_hz, half))
        self.reach = max(1, round(REACH_S * rate_hz))
        self._held: Signal = np.empty(0)
        self._begin = 0
        self._last = -1

    def push(self, samples: Signal) -> None:
        """Take the next samples."""
        self._held = np.concatenate((self._held, np.abs(self._band.push(samples))))

    def flush(self) -> None:
        """Take the end of the signal."""
        self._held = np.concatenate((self._held, np.abs(self._band.flush())))

    def place(self, beats: list[int]) -> list[int]:
        """Return where beats lie; two that share an extremum are one."""
        placed = []
        for at in self.nearest(np.array(beats, dtype=np.int64)).tolist():
            if at > self._last:
                placed.append(at)
                self._last = at
        return placed

    def nearest(self, beats: Indices) -> Indices:
        """Return for each beat the place of the largest magnitude within reach, shape (K,)."""
        if len(beats) == 0:
            return beats
        near = (beats - self._begin)[:, None] + np.arange(-self.reach, self.reach + 1)
        near = np.clip(near, 0, len(self._held) - 1)
        best = near[np.arange(len(beats)), np.argmax(self._held[near], axis=1)]
        return np.asarray(best + self._begin, dtype=np.int64)

    def forget(self, before: int) -> None:
        """Drop what lies before sample `before`."""
        if before > self._begin:
            self._held = self._held[before - self._begin :].copy()
            self._begin = before


def place_annotated(signal: Signal, rate_hz: float, r_peaks: Indices) -> Indices:
    """Move annotated R peaks to where the detector would put them.

    Args:
        signal: One lead, shape (N,).
        rate_hz: Its sampling rate.
        r_peaks: Sample numbers in [0, N), rising, shape (K,).

    Returns:
        Sample numbers, never falling, shape (K,); two peaks may share one.
    """
    placer = Placer(rate_hz)
    placer.push(signal)
    placer.flush()
    return np.asarray(np.maximum.accumulate(placer.nearest(r_peaks)), dtype=np.int64)
