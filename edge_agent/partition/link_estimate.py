"""The round trip and the rate of the uplink, from the times of messages of several sizes.

A message of x bits whose transfer began on a free link arrives, and its answer comes back, after
a + b x seconds, without the fog's own time: a is the round trip with all that every message costs,
b the inverse of the rate. Both are positive and range over decades, so the filter holds their
logarithms; its noise is a share of the time, whatever the time.
"""

import math

from edge_agent.partition.ratio_estimate import STEP_VARIANCE, Surprises

ITERATIONS = 4
"""Linearisations of one sample; a jump needs more than one."""
MIN_S, MAX_S = 1e-5, 60.0
"""Bounds of a round trip."""
MIN_RATE, MAX_RATE = 1e2, 1e11
"""Bounds of a rate, in bits a second."""
DRIFT = 0.05
"""How far each of the two wanders in a second, as a standard deviation of its logarithm."""
MAX_VARIANCE = 9.0
"""Of either logarithm: nothing is known of it."""


class LinkEstimate:
    """An extended Kalman filter on log a and log b, with a guard against outliers."""

    def __init__(self, round_trip_s: float = 0.02, rate: float = 2e6) -> None:
        """Begin with guesses that the first samples replace.

        Args:
            round_trip_s: In seconds.
            rate: Of the uplink, in bits a second.
        """
        self._a, self._b = math.log(round_trip_s), -math.log(rate)
        self._paa = self._pbb = MAX_VARIANCE
        self._pab = 0.0
        self._surprises = Surprises(0.1)
        self._now_s: float | None = None
        self.samples = 0
        self.jumps = 0

    @property
    def round_trip_s(self) -> float:
        """Time of a message without bits, in seconds."""
        return math.exp(self._a)

    @property
    def seconds_per_bit(self) -> float:
        """Inverse of the uplink's rate."""
        return math.exp(self._b)

    @property
    def noise(self) -> float:
        """Standard deviation of one sample's logarithm."""
        return math.sqrt(self._surprises.noise_variance)

    @property
    def covariance(self) -> tuple[float, float, float]:
        """Variance of log a, covariance, variance of log b."""
        return self._paa, self._pab, self._pbb

    def predict(self, bits: float) -> float:
        """Return the expected time of a message of so many bits on a free link, in seconds."""
        return math.exp(self._a) + math.exp(self._b) * bits

    def age(self, now_s: float) -> None:
        """Let time pass: what was known wears off."""
        if self._now_s is not None:
            drift = DRIFT * DRIFT * max(0.0, now_s - self._now_s)
            self._paa = min(self._paa + drift, MAX_VARIANCE)
            self._pbb = min(self._pbb + drift, MAX_VARIANCE)
        self._now_s = now_s

    def doubt(self) -> None:
        """Forget how sure both are: something has happened, another fog for one."""
        self._paa = min(self._paa + STEP_VARIANCE, MAX_VARIANCE)
        self._pbb = min(self._pbb + STEP_VARIANCE, MAX_VARIANCE)

    def observe(self, bits: float, seconds: float, now_s: float, doubt: float = 0.0) -> bool:
        """Take a sample; return whether it made a jump believed.

        Args:
            bits: Of the message.
            seconds: From the moment the link was free for it, without the fog's own time.
            now_s: Now, in monotonic seconds.
            doubt: Standard deviation of its logarithm beyond that of other samples.
        """
        self.age(now_s)
        self.samples += 1
        target = math.log(max(seconds, 1e-6))
        expected, wa, wb = self._linearise(self._a, self._b, bits)
        variance = self._variance(wa, wb) + doubt * doubt
        believed, has_jumped = self._surprises.judge(target - expected, variance)
        if has_jumped:
            self.jumps += 1
            self.doubt()
        self._update(bits, expected + believed, self._surprises.noise_variance + doubt * doubt)
        return has_jumped

    def _update(self, bits: float, target: float, noise_variance: float) -> None:
        """Move towards log-time `target`: an iterated update, linearised where it ends."""
        a0, b0, paa, pab, pbb = self._a, self._b, self._paa, self._pab, self._pbb
        a, b = a0, b0
        ka = kb = wa = wb = 0.0
        for _ in range(ITERATIONS):
            expected, wa, wb = self._linearise(a, b, bits)
            ca, cb = paa * wa + pab * wb, pab * wa + pbb * wb
            total = wa * ca + wb * cb + noise_variance
            ka, kb = ca / total, cb / total
            error = target - expected - wa * (a0 - a) - wb * (b0 - b)
            last_a, last_b = a, b
            a, b = a0 + ka * error, b0 + kb * error
            if abs(a - last_a) + abs(b - last_b) < 1e-3:
                break
        self._a = min(max(a, math.log(MIN_S)), math.log(MAX_S))
        self._b = min(max(b, -math.log(MAX_RATE)), -math.log(MIN_RATE))
        ca, cb = paa * wa + pab * wb, pab * wa + pbb * wb
        self._paa = max(paa - ka * ca, 1e-8)
        self._pab = pab - ka * cb
        self._pbb = max(pbb - kb * cb, 1e-8)

    def _variance(self, wa: float, wb: float) -> float:
        return wa * wa * self._paa + 2.0 * wa * wb * self._pab + wb * wb * self._pbb

    @staticmethod
    def _linearise(a: float, b: float, bits: float) -> tuple[float, float, float]:
        """Return the logarithm of the expected time, and its slopes by log a and log b."""
        fixed, moving = math.exp(a), math.exp(b) * bits
        total = fixed + moving
        return math.log(total), fixed / total, moving / total
