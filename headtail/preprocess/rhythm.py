"""Step `rhythm`: append to a beat's window what the R peaks up to it say of the rhythm.

All figures are known when the R peak is: they look at the R-R interval before it and at those
before that. Never at the interval after it, which a live stream does not have.
"""

from collections import deque
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
import numpy as np

from headtail.preprocess.beat import Beat
from headtail.preprocess.step import Parameters

LONGEST_RR_S = 2.0
"""An R-R interval of this or more is appended as 1: 30 beats a minute."""
HIGHEST_RATIO = 2.0
"""A ratio of this or more is appended as 1."""
USUAL_RR_S = 0.8
"""The interval that is appended as 0 where figures are deviations: 75 beats a minute."""
LARGEST_DEVIATION = 2.0
"""A deviation of this or more, either way, is appended as this."""

Figure = Literal["interval", "ratio", "ratio_previous", "ratio_recent", "variability"]


class Rhythm(Parameters, frozen=True):
    """Append figures of the rhythm, `repeat` samples each.

    The interval is appended as its share of 2 s and ratios as their share of 2, all at most 1; with
    a `gain`, as what they deviate by from 0.8 s and from 1, times the gain, within -2 and 2.
    """

    repeat: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 4
    """Samples that each figure takes; as many as a first stride keep them apart."""
    past_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 60.0
    """How far back the intervals of the mean may have ended, from the R peak."""
    figures: Annotated[tuple[Figure, ...], msgspec.Meta(min_length=1, max_length=5)] = (
        "interval",
        "ratio",
    )
    """What is appended: the R-R `interval`; its `ratio` to the mean of those before, to the one
    before (`ratio_previous`) or to the mean of the `recent` before (`ratio_recent`); the mean
    change from one of these to the next as a share of their mean (`variability`)."""
    recent: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 10
    """Intervals that are recent."""
    gain: Annotated[float, msgspec.Meta(gt=0, le=100)] | None = None
    """Times which deviations are appended; none given appends shares."""

    def __post_init__(self) -> None:
        if len(set(self.figures)) < len(self.figures):
            raise ValueError("figures must hold each one once")

    def start(self, rate_hz: float) -> "RhythmFollower":
        """Begin with the first beat of a signal at `rate_hz`."""
        return RhythmFollower(self, rate_hz)


class RhythmFollower:
    """Follows the R peaks of one signal; not to be shared by threads.

    Before the second beat there is no interval: all figures are then 0. Until there are intervals
    to compare one with, the ratio is that of a steady rhythm, and nothing varies.
    """

    def __init__(self, step: Rhythm, rate_hz: float) -> None:
        """Use `Rhythm.start`."""
        self._step = step
        self._rate_hz = rate_hz
        self._past = round(step.past_s * rate_hz)
        # The intervals of the mean as (R peak that ended it, samples), and their sum.
        self._before: deque[tuple[int, int]] = deque()
        self._sum = 0
        self._recent: deque[int] = deque(maxlen=step.recent)
        self._last: int | None = None
        self._figures = [0.0] * len(step.figures)

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

    def _read(self, r_peak: int, interval: int) -> list[float]:
        while self._before and self._before[0][0] < r_peak - self._past:
            self._sum -= self._before.popleft()[1]
        recent = list(self._recent)
        mean = sum(recent) / len(recent) if recent else interval
        changes = [abs(after - before) for before, after in pairwise(recent)]
        values = {
            "interval": interval / self._rate_hz,
            "ratio": interval * len(self._before) / self._sum if self._before else 1.0,
            "ratio_previous": interval / recent[-1] if recent else 1.0,
            "ratio_recent": interval / mean,
            "variability": sum(changes) / len(changes) / mean if changes else 0.0,
        }
        self._before.append((r_peak, interval))
        self._sum += interval
        self._recent.append(interval)
        append = _share if self._step.gain is None else self._deviation
        return [append(name, values[name]) for name in self._step.figures]

    def _deviation(self, name: str, value: float) -> float:
        assert self._step.gain is not None, "asked for"
        steady = {"interval": USUAL_RR_S, "variability": 0.0}.get(name, 1.0)
        deviation = self._step.gain * (value - steady)
        return max(-LARGEST_DEVIATION, min(deviation, LARGEST_DEVIATION))


def _share(name: str, value: float) -> float:
    highest = {"interval": LONGEST_RR_S, "variability": 1.0}.get(name, HIGHEST_RATIO)
    return min(value / highest, 1.0)
