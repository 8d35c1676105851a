"""One positive quantity that is seen through noise, drifts, and now and then jumps."""

import math

STEP_VARIANCE = 4.0
"""Of the logarithm, added where a jump is believed: a factor of seven either way is no surprise."""
SURPRISE, SURPRISE_BELOW = 2.0, 4.0
"""Standard deviations beyond which a sample counts no more than that, above and below what was
expected: much can hold a message up, nothing makes it quicker than its link."""
SLACK, ALARM = 0.75, 5.0
"""Of the cumulative sums: what is taken off every sample, and what makes a jump, both in standard
deviations. Four surprises in a row do (Page 1954, doi:10.1093/biomet/41.1-2.100)."""
SUSPICION = 1.0
"""A sum that is worth a closer look."""
MIN_NOISE, MAX_NOISE = 0.005, 0.6
"""Bounds of the noise's standard deviation, of the logarithm."""
NOISE_SHARE, NOISE_MOST = 0.1, 4.0
"""Of the noise's variance: what one sample adds to the estimate, once there were enough of them,
and how many times as much it may show: what holds few messages up for long, other programs for
one, counts no more."""


class Surprises:
    """Cumulative sums of errors to either side, and how noisy samples are.

    Samples of several kinds have sums of their own: what makes one kind larger and another smaller
    would cancel out in common ones.
    """

    def __init__(self, noise: float) -> None:
        """Begin with a guess of the noise's standard deviation."""
        self.noise_variance = noise * noise
        self._sums: dict[int, tuple[float, float]] = {}
        self._kind = self._count = 0

    @property
    def is_suspicious(self) -> bool:
        """Whether the last sample may be the first one after a jump."""
        return max(self._sums.get(self._kind, (0.0, 0.0))) > SUSPICION

    def judge(self, error: float, variance: float, kind: int = 0) -> tuple[float, bool]:
        """Return the error to believe of a sample, and whether a jump has happened.

        Args:
            error: Logarithm of what came over what was expected.
            variance: Of the expectation, without the sample's own noise.
            kind: Of the sample; a small number of them.
        """
        scale = math.sqrt(variance + self.noise_variance)
        believed = min(max(error, -SURPRISE_BELOW * scale), SURPRISE * scale)
        above, below = self._sums.get(kind, (0.0, 0.0))
        above = max(0.0, above + believed / scale - SLACK)
        below = max(0.0, below - believed / scale - SLACK)
        self._sums[kind], self._kind = (above, below), kind
        if max(above, below) >= ALARM:
            self._sums.clear()
            return error, True
        self._learn_noise(error * error - variance)
        return believed, False

    def clear(self) -> None:
        """Begin the sums anew: what they were about has been settled."""
        self._sums.clear()

    def _learn_noise(self, seen: float) -> None:
        """Move the noise's variance towards what one sample shows of it."""
        self._count += 1
        share = max(NOISE_SHARE, 1.0 / (1.0 + self._count))
        seen = min(max(seen, 0.0), NOISE_MOST * self.noise_variance)
        noise = self.noise_variance + share * (seen - self.noise_variance)
        self.noise_variance = min(max(noise, MIN_NOISE**2), MAX_NOISE**2)


class RatioEstimate:
    """A Kalman filter on the logarithm, with a guard against outliers."""

    def __init__(
        self, value: float, spread: float = 0.5, drift: float = 0.03, noise: float = 0.1
    ) -> None:
        """Begin with a guess.

        Args:
            value: The guess, above 0.
            spread: Standard deviation of its logarithm.
            drift: How far the logarithm wanders in a second, as a standard deviation.
            noise: Of one sample, as a standard deviation of its logarithm; learned from then on.
        """
        self._log = math.log(value)
        self.variance = spread * spread
        self._drift = drift * drift
        self._surprises = Surprises(noise)
        self._now_s: float | None = None
        self.is_seen = False
        """Whether there was any sample."""

    @property
    def value(self) -> float:
        """The estimate."""
        return math.exp(self._log)

    def widen(self, share: float) -> None:
        """Forget how sure it is, to a share of what a jump forgets."""
        self.variance += share * STEP_VARIANCE

    def observe(self, value: float, now_s: float) -> bool:
        """Take a sample, above 0; return whether it made a jump believed."""
        if self._now_s is not None:
            self.variance += self._drift * max(0.0, now_s - self._now_s)
        self._now_s = now_s
        self.is_seen = True
        error = math.log(value) - self._log
        believed, has_jumped = self._surprises.judge(error, self.variance)
        if has_jumped:
            self.variance += STEP_VARIANCE
        gain = self.variance / (self.variance + self._surprises.noise_variance)
        self._log += gain * believed
        self.variance *= 1.0 - gain
        return has_jumped
