"""What the fog makes of its windows: its time for each tail, its queue, and how many it fails."""

import math
from collections.abc import Mapping

from edge_agent.partition.ratio_estimate import STEP_VARIANCE, RatioEstimate, Surprises

LEAST_S = 1e-4
"""Added to short times before they are compared: below this, clocks and threads decide."""
UNSEEN_DOUBT, DOUBT_PER_S, MAX_DOUBT = 1.5, 0.01, 1.5
"""Standard deviation of the logarithm of a fog's time: before the first answer, what silence adds
to its square a second, and its largest."""
DRIFT = 0.1
"""How far the slowness of all tails wanders in a second (standard deviation of the logarithm)."""
OWN_SPREAD, OWN_S = 0.25, 60.0
"""By how much one tail differs from all of them, as a logarithm, and how long that is remembered
where it is not seen, in seconds."""
USUAL_S = 60.0
"""Time in which what is usual follows a fog that has become slower; it follows a quicker one at
once."""
UNSEEN_HOPE, FEW_HOPE, FEW = 3.0, 1.5, 30.0
"""How much quicker it may be than its first answers, which load may have held up, as a logarithm,
before any, after one, and the number of answers in which that wears off."""
CROWD_S = 10.0
"""After such a silence load on a fog, or its failures, may well be over."""
FAILED_SHARE = 0.2
"""Share of a new window in the share of those that failed."""


class _Own:
    """By how much the tail of one point differs from what all tails have in common."""

    def __init__(self) -> None:
        self.log, self.variance = 0.0, OWN_SPREAD**2
        self._now_s: float | None = None

    def age(self, now_s: float) -> None:
        """Let it wear off."""
        if self._now_s is not None:
            left = math.exp(-max(0.0, now_s - self._now_s) / OWN_S)
            self.log *= left
            self.variance = OWN_SPREAD**2 + (self.variance - OWN_SPREAD**2) * left * left
        self._now_s = now_s


class FogEstimate:
    """Times of tails by partition point, wait and failures, as the fog's answers tell them.

    A fog under load is slow at all tails alike: the logarithm of its time for one, over this
    device's, is what all have in common and a little of its own.
    """

    def __init__(self, tails_s: Mapping[int, float]) -> None:
        """Begin; `tails_s` has this device's time for the tail of each point, in seconds."""
        self._here_s = dict(tails_s)
        self._own = {point: _Own() for point in tails_s}
        self._log = self._usual = 0.0
        self._variance = UNSEEN_DOUBT**2
        self._surprises = Surprises(0.1)
        self._queue = RatioEstimate(LEAST_S, noise=0.3, drift=0.1)
        self._answers = 0
        self._heard_s: float | None = None
        self._failed_ratio = 0.0

    @property
    def is_seen(self) -> bool:
        """Whether the fog has answered at all."""
        return self._heard_s is not None

    @property
    def queue_s(self) -> float:
        """Wait in the fog, in seconds."""
        return max(0.0, self._queue.value - LEAST_S) if self._queue.is_seen else 0.0

    @property
    def failed_ratio(self) -> float:
        """Share of windows that the fog did not answer."""
        return self._failed_ratio

    @property
    def tail_ratio(self) -> float:
        """The fog's time over this device's, in common to all points; 1 before the first answer."""
        return math.exp(self._log)

    @property
    def usual_ratio(self) -> float:
        """How much quicker tails are where the fog has no more load than usual; at most 1."""
        return math.exp(min(0.0, self._hoped - self._log))

    def tail_s(self, point: int) -> float:
        """Return the fog's time for the tail of a point, in seconds."""
        here_s = self._here_s[point] + LEAST_S
        return max(0.0, here_s * math.exp(self._log + self._own[point].log) - LEAST_S)

    def silent_s(self, now_s: float) -> float:
        """Return how long nothing was heard of the fog, in seconds."""
        return 0.0 if self._heard_s is None else max(0.0, now_s - self._heard_s)

    def crowd(self, now_s: float) -> float:
        """Return what share of its unusual load a silent fog may still have."""
        return math.exp(-self.silent_s(now_s) / CROWD_S)

    def doubt(self, now_s: float) -> float:
        """Return the standard deviation of the logarithm of the fog's times."""
        if self._heard_s is None:
            return UNSEEN_DOUBT
        return float(min(MAX_DOUBT, (0.05**2 + DOUBT_PER_S * self.silent_s(now_s)) ** 0.5))

    def observe(self, point: int, tail_s: float, queue_s: float, now_s: float) -> bool:
        """Take what an answer says; return whether it made a jump believed."""
        silent_s, over = self.silent_s(now_s), 1.0 - self.crowd(now_s)
        self._heard_s = now_s
        self._failed_ratio *= 1.0 - FAILED_SHARE
        sample = math.log((tail_s + LEAST_S) / (self._here_s[point] + LEAST_S))
        own = self._own[point]
        own.age(now_s)
        self._answers += 1
        if self._answers == 1:
            self._log = self._usual = sample - own.log
            self._variance = 1.0
        # Load that was unusual may be over by now.
        self._variance += DRIFT**2 * silent_s + over * (self._log - self._hoped) ** 2
        tail_jumped = self._update(own, sample)
        towards = 1.0 if self._log < self._usual else 1.0 - math.exp(-silent_s / USUAL_S)
        self._usual += towards * (self._log - self._usual)
        self._queue.widen(over)
        return self._queue.observe(queue_s + LEAST_S, now_s) or tail_jumped

    def failed(self) -> None:
        """Take note of a window that the fog did not answer."""
        self._failed_ratio += FAILED_SHARE * (1.0 - self._failed_ratio)

    def pardon(self) -> None:
        """Take back the last failure: it was the link's."""
        self._failed_ratio = max(0.0, (self._failed_ratio - FAILED_SHARE) / (1.0 - FAILED_SHARE))

    def forget(self) -> None:
        """Know little: it is another fog, perhaps, but the link may fail it all the same."""
        self._heard_s = None
        self._log = self._usual
        self._variance = UNSEEN_DOUBT**2
        self._queue = RatioEstimate(LEAST_S, noise=0.3, drift=0.1)

    @property
    def _hoped(self) -> float:
        if not self._answers:
            return self._usual - UNSEEN_HOPE
        return self._usual - FEW_HOPE * math.exp(-self._answers / FEW)

    def _update(self, own: _Own, sample: float) -> bool:
        """Give to either part its share of an error; a large one is always one of all tails."""
        error = sample - self._log - own.log
        believed, has_jumped = self._surprises.judge(error, self._variance + own.variance)
        if has_jumped:
            self._variance += STEP_VARIANCE
        total = self._variance + own.variance + self._surprises.noise_variance
        gain, own_gain = self._variance / total, own.variance / total
        self._log += gain * believed
        if believed == error and not has_jumped:
            own.log += own_gain * believed
        self._variance *= 1.0 - gain
        own.variance *= 1.0 - own_gain
        return has_jumped
