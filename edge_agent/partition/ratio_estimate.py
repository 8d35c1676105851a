"""One positive quantity that is seen through noise, drifts, and now and then jumps."""

import math

STEP_VARIANCE = 4.0
"""Of the logarithm, added where a jump is believed: a factor of seven either way is no surprise."""
SURPRISE = 2.5
"""Standard deviations beyond which a sample is a surprise."""
SURPRISES = 3
"""Surprises in a row, to the same side, that make a jump."""
MIN_NOISE, MAX_NOISE = 0.005, 0.6
"""Bounds of the noise's standard deviation, of the logarithm."""
NOISE_SHARE = 0.05
"""Share of a new sample in the estimate of the noise."""


class Surprises:
    """Counts surprises of one sign, and learns how noisy samples are."""

    def __init__(self, noise: float) -> None:
        """Begin with a guess of the noise's standard deviation."""
        self.noise_variance = noise * noise
        self._run = 0

    def judge(self, error: float, variance: float) -> tuple[float, bool]:
        """Return the error to believe of a sample, and whether a jump has happened.

        Args:
            error: Logarithm of what came over what was expected.
            variance: Of the expectation, without the sample's own noise.
        """
        scale = math.sqrt(variance + self.noise_variance)
        limit = SURPRISE * scale
        if abs(error) <= limit:
            self._run = 0
            share = NOISE_SHARE * (error * error * self.noise_variance / scale**2)
            noise = (1.0 - NOISE_SHARE) * self.noise_variance + share
            self.noise_variance = min(max(noise, MIN_NOISE**2), MAX_NOISE**2)
            return error, False
        sign = 1 if error > 0 else -1
        self._run = self._run + sign if self._run * sign > 0 else sign
        if abs(self._run) >= SURPRISES:
            self._run = 0
            return error, True
        # An outlier that is no jump still says that samples are noisier than thought.
        noise = self.noise_variance * (1.0 + NOISE_SHARE * SURPRISE**2)
        self.noise_variance = min(noise, MAX_NOISE**2)
        return math.copysign(limit, error), False


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
