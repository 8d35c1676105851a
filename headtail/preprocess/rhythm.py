"""Step `rhythm`: append to a beat's window what the R peaks up to it say of the rhythm.

Two figures that are known when the R peak is: the R-R interval before it, and that interval as a
ratio to the mean of those before. Never the interval after it, which a live stream does not have.
"""

from collections import deque
from typing import Annotated

import msgspec
import numpy as np

from headtail.preprocess.beat import Beat
from headtail.preprocess.step import Parameters

LONGEST_RR_S = 2.0
"""An R-R interval of this or more is appended as 1: 30 beats a minute."""
HIGHEST_RATIO = 2.0
"""A ratio of this or more is appended as 1."""


class Rhythm(Parameters, frozen=True):
    """Append R-R / 2 s, then R-R / mean R-R / 2, both at most 1, `repeat` samples each."""

    repeat: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 4
    """Samples that each figure takes; as many as a first stride keep the two apart."""
    past_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 60.0
    """How far back the intervals of the mean may have ended, from the R peak."""

    def start(self, rate_hz: float) -> "RhythmFollower":
        """Begin with the first beat of a signal at `rate_hz`."""
        return RhythmFollower(self, rate_hz)


class RhythmFollower:
    """Follows the R peaks of one signal; not to be shared by threads.

    Before the second beat there is no interval: both figures are then 0. Before the third there is
    no mean, and the ratio is that of a steady rhythm.
    """

    def __init__(self, step: Rhythm, rate_hz: float) -> None:
        """Use `Rhythm.start`."""
        self._step = step
        self._rate_hz = rate_hz
        self._past = round(step.past_s * rate_hz)
        # The intervals of the mean as (R peak that ended it, samples), and their sum.
        self._before: deque[tuple[int, int]] = deque()
        self._sum = 0
        self._last: int | None = None
        self._figures = (0.0, 0.0)

    def follow(self, beat: Beat) -> Beat:
        """Return the next beat, in the order of R peaks, with its figures appended.

        Two annotations that were moved to one R peak have the same figures.
        """
        if self._last is None or beat.r_peak > self._last:
            if self._last is not None:
                self._figures = self._read(beat.r_peak, beat.r_peak - self._last)
            self._last = beat.r_peak
        appended = np.repeat(self._figures, self._step.repeat)
        return beat._replace(values=np.concatenate((beat.values, appended)))

    def _read(self, r_peak: int, interval: int) -> tuple[float, float]:
        while self._before and self._before[0][0] < r_peak - self._past:
            self._sum -= self._before.popleft()[1]
        ratio = interval * len(self._before) / self._sum if self._before else 1.0
        self._before.append((r_peak, interval))
        self._sum += interval
        seconds = interval / self._rate_hz
        return min(seconds / LONGEST_RR_S, 1.0), min(ratio / HIGHEST_RATIO, 1.0)
