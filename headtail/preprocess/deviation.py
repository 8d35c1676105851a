"""Step `deviation`: what is unusual about a beat, its window less the mean of those before it.

Most beats of a patient are alike, so the mean of the last few shows that patient's usual beat,
whatever its shape; what is left of a usual one is noise. Nobody has to label anything for that, and
nothing later than the beat is looked at.
"""

from collections import deque
from typing import Annotated

import msgspec
import numpy as np

from headtail.preprocess.beat import Beat
from headtail.preprocess.step import Parameters, Signal


class Deviation(Parameters, frozen=True):
    """Subtract from each beat's window the mean of the windows of up to `beats` before it."""

    beats: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 30
    """Windows of the mean, as they were cut."""

    def start(self, rate_hz: float) -> "DeviationFollower":
        """Begin with the first beat of a signal, at any rate."""
        return DeviationFollower(self)


class DeviationFollower:
    """Follows the beats of one signal; not to be shared by threads.

    The first beat has none before it: its window becomes zeros.
    """

    def __init__(self, step: Deviation) -> None:
        """Use `Deviation.start`."""
        self._before: deque[Signal] = deque(maxlen=step.beats)

    def follow(self, beat: Beat) -> Beat:
        """Return the next beat, in the order of R peaks, less what is usual."""
        usual = np.mean(self._before, axis=0) if self._before else beat.values
        self._before.append(beat.values)
        return beat._replace(values=beat.values - usual)
