"""The round trip and the rate of the uplink, from the times of messages of several sizes.

A message of x bits whose transfer began on a free link arrives, and its answer comes back, after
a + b x seconds, without the fog's own time: a is the round trip with all that every message costs,
b the inverse of the rate.
"""

import math

from edge_agent.partition.ratio_estimate import Surprises
from edge_agent.partition.recent import LEAST_S, LEAST_S_PER_BIT, Recent, Sample

FIRST_ROUND_TRIP_S, FIRST_RATE = 0.02, 2e6
"""Guesses, in seconds and bits a second, that the first sample replaces."""
DRIFT = 0.01
"""How far each of the two wanders in a second, as a share of itself (standard deviation)."""

SILENT_S, UNSEEN_DRIFT, MOST_S = 0.5, 0.05, 10.0
"""How far each may have wandered in a second of silence, a short one not counted, nor more of it
than the last: what nobody looks at may well change."""

JUMP_SAMPLES = 3
"""Of those that showed a jump, from so many the estimate begins anew."""


class LinkEstimate:
    """A Kalman filter on a and b, with a guard against outliers.

    Messages of one size tell only the sum of both parts; the covariance then says so, and what a
    jump of the sum is due to is left open until another size comes along.
    """

    def __init__(self) -> None:
        """Begin with guesses."""
        self._a, self._b = FIRST_ROUND_TRIP_S, 1.0 / FIRST_RATE
        self._paa, self._pab, self._pbb = self._a**2, 0.0, self._b**2
        self._surprises = Surprises(0.1)
        # What came since the first sample that may be of a jump, and of which kind that was.
        self._suspects: list[Sample] = []
        self._suspect_kind = 0
        self._recent = Recent()
        self._now_s: float | None = None
        self._seen_s = 0.0
        self.samples = 0
        self.jumps = 0

    @property
    def round_trip_s(self) -> float:
        """Time of a message without bits, in seconds."""
        return self._a

    @property
    def seconds_per_bit(self) -> float:
        """Inverse of the uplink's rate."""
        return self._b

    @property
    def noise(self) -> float:
        """Standard deviation of one sample, as a share of it."""
        return math.sqrt(self._surprises.noise_variance)

    @property
    def is_surprised(self) -> bool:
        """Whether the last sample may be the first one after a jump."""
        return self._surprises.is_suspicious

    @property
    def covariance(self) -> tuple[float, float, float]:
        """Variance of a, covariance, variance of b."""
        return self._paa, self._pab, self._pbb

    def predict(self, bits: float) -> float:
        """Return the expected time of a message of so many bits on a free link, in seconds."""
        return self._a + self._b * bits

    def age(self, now_s: float) -> None:
        """Let time pass: what was known wears off."""
        if self._now_s is not None:
            drift = DRIFT * DRIFT * max(0.0, now_s - self._now_s)
            self._paa += drift * self._a**2
            self._pbb += drift * self._b**2
        self._now_s = now_s

    def doubt(self, bits: float = 0.0, seconds: float = 0.0) -> None:
        """Forget how sure both are: something has happened, another fog for one.

        Args:
            bits: Of a message that shows it, where one does.
            seconds: That it took.
        """
        self._paa = max(self._paa, self._a**2, seconds**2)
        self._pbb = max(self._pbb, self._b**2, (seconds / bits) ** 2 if bits else 0.0)
        self._pab = 0.0

    def observe(self, bits: float, seconds: float, now_s: float, doubt: float = 0.0) -> bool:
        """Take a sample; return whether it made a jump believed.

        Args:
            bits: Of the message.
            seconds: From the moment the link was free for it, without the fog's own time.
            now_s: Now, in monotonic seconds.
            doubt: Standard deviation beyond that of other samples, as a share of it.
        """
        seconds = max(seconds, 1e-6)
        self.age(now_s)
        self._break_silence(now_s)
        self.samples += 1
        if self.samples == 1:
            self.doubt(bits, seconds)
        expected = self.predict(bits)
        variance = self._variance(bits) / expected**2 + doubt**2
        error = math.log(seconds / expected)
        # Sizes of one octave are one kind.
        kind = round(math.log2(max(bits, 1.0)))
        sample = bits, seconds, doubt
        believed, has_jumped = self._surprises.judge(error, variance, kind)
        self._suspect(sample, kind, may_be=has_jumped or self.is_surprised)
        noise_variance = self._surprises.noise_variance
        self._recent.add(sample, error / math.sqrt(variance + noise_variance))
        newcomers = self._suspects[-JUMP_SAMPLES:] if has_jumped else []
        newcomers = newcomers or self._recent.newcomers((self._a, self._b), noise_variance)
        if newcomers:
            self._jump(newcomers)
        elif believed == error:
            self._update(bits, seconds, doubt)
        else:
            self._nudge(bits, expected * math.exp(believed), doubt)
        return bool(newcomers)

    def exceeded(self, bits: float, seconds: float, now_s: float) -> None:
        """Take note of a message that was given up after so long: that is a jump by itself."""
        self.age(now_s)
        self.samples += 1
        self._jump([(bits, seconds, 0.0)])

    def _break_silence(self, now_s: float) -> None:
        """Doubt what was known before a silence."""
        silent_s = min(MOST_S, max(0.0, now_s - self._seen_s - SILENT_S)) if self.samples else 0.0
        self._paa += (UNSEEN_DRIFT * self._a) ** 2 * silent_s
        self._pbb += (UNSEEN_DRIFT * self._b) ** 2 * silent_s
        self._seen_s = now_s

    def _suspect(self, sample: Sample, kind: int, *, may_be: bool) -> None:
        """Keep what came since a jump may have been; what came before it tells nothing of after."""
        if may_be and not self._suspects:
            self._suspect_kind = kind
        if may_be or self._suspects:
            self._suspects = [*self._suspects[-JUMP_SAMPLES:], sample]
        if not may_be and kind == self._suspect_kind:
            self._suspects.clear()

    def _jump(self, samples: list[Sample]) -> None:
        """Begin anew from the samples that showed it."""
        self.jumps += 1
        self._surprises.clear()
        self._suspects.clear()
        self._recent.clear()
        for bits, seconds, _ in samples:
            self.doubt(bits, seconds)
        for bits, seconds, doubt in samples:
            self._update(bits, seconds, doubt)

    def _update(self, bits: float, seconds: float, doubt: float) -> None:
        ca, cb, total = self._gains(bits, seconds, doubt)
        error = seconds - self.predict(bits)
        self._a += ca / total * error
        self._b += cb / total * error
        self._paa -= ca * ca / total
        self._pab -= ca * cb / total
        self._pbb -= cb * cb / total
        self._keep_sane()

    def _nudge(self, bits: float, seconds: float, doubt: float) -> None:
        """Move towards an outlier without becoming surer by it."""
        ca, cb, total = self._gains(bits, seconds, doubt)
        error = seconds - self.predict(bits)
        self._a += ca / total * error
        self._b += cb / total * error
        self._keep_sane()

    def _gains(self, bits: float, seconds: float, doubt: float) -> tuple[float, float, float]:
        """Return the covariances of a and b with a sample, and the sample's variance."""
        ca, cb = self._paa + self._pab * bits, self._pab + self._pbb * bits
        scale = max(seconds, self.predict(bits))
        noise = (self._surprises.noise_variance + doubt * doubt) * scale * scale
        return ca, cb, ca + cb * bits + noise

    def _variance(self, bits: float) -> float:
        return max(0.0, self._paa + 2.0 * self._pab * bits + self._pbb * bits * bits)

    def _keep_sane(self) -> None:
        """Keep both positive, and the covariance one; what one gives up the other gets."""
        self._paa = max(self._paa, (1e-4 * self._a) ** 2, 1e-14)
        self._pbb = max(self._pbb, (1e-4 * self._b) ** 2, 1e-26)
        most = 0.999 * math.sqrt(self._paa * self._pbb)
        self._pab = min(max(self._pab, -most), most)
        if self._b < LEAST_S_PER_BIT:
            self._a += self._pab / self._pbb * (LEAST_S_PER_BIT - self._b)
            self._b = LEAST_S_PER_BIT
        if self._a < LEAST_S:
            self._b += self._pab / self._paa * (LEAST_S - self._a)
            self._a = LEAST_S
        self._b = max(self._b, LEAST_S_PER_BIT)
