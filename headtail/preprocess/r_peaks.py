"""R peaks of an ECG found while it streams: band-pass, energy, adaptive thresholds, search back."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headtail.preprocess.fir import StreamingFir, band_pass
from headtail.preprocess.step import Signal

Indices = NDArray[np.int64]

# The QRS complex has its energy around 10 Hz, P and T waves below, muscle noise above:
# Pan & Tompkins, IEEE Trans. Biomed. Eng. 32(3), 1985.
BAND_HZ = (5.0, 18.0)
BAND_HALF_S = 0.2
ENERGY_S = 0.12
FIDUCIAL_S = 0.1
REFRACTORY_S = 0.2
LEARN_S = 2.0
MIN_RATE_HZ = 60.0


class _Candidate(NamedTuple):
    at: int
    height: float


class RPeakDetector:
    """Finds R peaks in one lead; each comes out as soon as it is certain, in rising order.

    The result does not depend on how the samples were cut into pushes.
    """

    def __init__(self, rate_hz: float) -> None:
        """Design the filters for `rate_hz`."""
        self._rate = rate_hz
        self._band = StreamingFir(qrs_band(rate_hz))
        self._half = max(1, round(ENERGY_S * rate_hz / 2))
        self._energy = StreamingFir(np.full(2 * self._half + 1, 1 / (2 * self._half + 1)))
        self._radius = fiducial_radius(rate_hz)
        self._held: Signal = np.empty(0)
        self._held_from = 0
        self._heights: Signal = np.empty(0)
        self._heights_from = 0
        self._threshold = _Threshold(rate_hz)

    def push(self, samples: Signal) -> list[int]:
        """Return the R peaks that became certain, as sample numbers."""
        band = self._band.push(samples)
        return self._detect(band, self._energy.push(band * band))

    def flush(self) -> list[int]:
        """Return the last R peaks."""
        band = self._band.flush()
        energy = np.concatenate((self._energy.push(band * band), self._energy.flush()))
        found = self._detect(band, energy)
        return found + self._place(self._threshold.flush())

    @property
    def oldest(self) -> int:
        """The earliest sample at which an R peak may still be reported."""
        return self._threshold.oldest(self._heights_from) - self._radius

    def _detect(self, band: Signal, energy: Signal) -> list[int]:
        self._held = np.concatenate((self._held, band))
        heights = np.concatenate((self._heights, np.sqrt(np.maximum(energy, 0.0))))
        found = []
        if len(heights) >= 3:
            middle = heights[1:-1]
            tops = np.flatnonzero((middle > heights[:-2]) & (middle >= heights[2:])) + 1
            for i in tops.tolist():
                found += self._threshold.offer(
                    _Candidate(self._heights_from + i, float(heights[i]))
                )
            self._heights_from += len(heights) - 2
            heights = heights[-2:]
        self._heights = heights
        placed = self._place(found)
        self._forget()
        return placed

    def _place(self, found: list[int]) -> list[int]:
        near = np.array(found, dtype=np.int64) - self._held_from
        placed = largest_near(self._held, near, self._radius) + self._held_from
        return [int(i) for i in placed]

    def _forget(self) -> None:
        keep = self.oldest
        if keep > self._held_from:
            self._held = self._held[keep - self._held_from :].copy()
            self._held_from = keep


class _Threshold:
    """Decides which tops are QRS complexes; after the thresholds of Pan & Tompkins 1985."""

    def __init__(self, rate_hz: float) -> None:
        self._refractory = round(REFRACTORY_S * rate_hz)
        self._learn = round(LEARN_S * rate_hz)
        self._rate = rate_hz
        self._waiting: list[_Candidate] = []
        self._pending: _Candidate | None = None
        self._missed: _Candidate | None = None
        self._signal = 0.0
        self._noise = 0.0
        self._learned = False
        self._last: _Candidate | None = None
        self._intervals: list[int] = []

    def offer(self, top: _Candidate) -> list[int]:
        """Take the next top; return the QRS complexes that became certain."""
        if not self._learned:
            self._waiting.append(top)
            return self._learn_levels() if top.at >= self._learn else []
        return self._merge(top)

    def flush(self) -> list[int]:
        """Return what is left."""
        found = [] if self._learned else self._learn_levels()
        if self._pending is not None:
            found += self._decide(self._pending)
            self._pending = None
        return found

    def oldest(self, now: int) -> int:
        """Return the earliest sample at which a complex may still be reported."""
        first = [c.at for c in (self._pending, self._missed) if c is not None]
        first += [c.at for c in self._waiting[:1]]
        return min([now, *first])

    def _learn_levels(self) -> list[int]:
        self._learned = True
        heights = [c.height for c in self._waiting]
        self._signal = 0.6 * max(heights, default=0.0)
        self._noise = 0.5 * float(np.median(heights)) if heights else 0.0
        waiting, self._waiting = self._waiting, []
        return [i for top in waiting for i in self._merge(top)]

    def _merge(self, top: _Candidate) -> list[int]:
        """Keep the highest of tops closer than the refractory period."""
        last = self._pending
        if last is None:
            self._pending = top
            return []
        if top.at - last.at > self._refractory:
            self._pending = top
            return self._decide(last)
        if top.height > last.height:
            self._pending = top
        return []

    def _decide(self, top: _Candidate) -> list[int]:
        found = self._search_back(top.at)
        if self._last is not None and top.at - self._last.at <= self._refractory:
            return found
        if top.height > self._noise + 0.3 * (self._signal - self._noise):
            self._signal += 0.125 * (min(top.height, 2 * self._signal) - self._signal)
            return [*found, self._accept(top)]
        self._noise += 0.125 * (top.height - self._noise)
        if self._missed is None or top.height > self._missed.height:
            self._missed = top
        return found

    def _search_back(self, now: int) -> list[int]:
        if self._last is None or self._missed is None:
            return []
        typical = float(np.median(self._intervals)) if self._intervals else self._rate
        if now - self._last.at < 1.6 * typical:
            return []
        missed, self._missed = self._missed, None
        if missed.height <= self._noise + 0.12 * (self._signal - self._noise):
            return []
        self._signal += 0.25 * (missed.height - self._signal)
        return [self._accept(missed)]

    def _accept(self, top: _Candidate) -> int:
        if self._last is not None:
            self._intervals = [*self._intervals[-7:], top.at - self._last.at]
        self._last = top
        self._missed = None
        return top.at


def qrs_band(rate_hz: float) -> Signal:
    """Return the band-pass kernel whose output shows QRS complexes."""
    return band_pass(*BAND_HZ, rate_hz, max(1, round(BAND_HALF_S * rate_hz)))


def fiducial_radius(rate_hz: float) -> int:
    """Return how far the R peak may lie from the middle of the QRS energy, in samples."""
    return max(1, round(FIDUCIAL_S * rate_hz))


def largest_near(signal: Signal, indices: Indices, radius: int) -> Indices:
    """Return for each index the place of the largest magnitude within `radius`.

    Args:
        signal: Shape (N,).
        indices: Places in [0, N), shape (K,).
        radius: Samples to look at on either side.

    Returns:
        Places, shape (K,).
    """
    if len(indices) == 0:
        return indices
    places = np.clip(indices[:, None] + np.arange(-radius, radius + 1), 0, len(signal) - 1)
    best = np.argmax(np.abs(signal)[places], axis=1)
    return np.asarray(places[np.arange(len(indices)), best], dtype=np.int64)
