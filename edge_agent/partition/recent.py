"""The last samples of a link, and whether a line of their own explains them better.

Cumulative sums see a jump in samples of one size. Where several sizes come, of which each fits only
somewhat badly, all of them together tell: the likelihood ratio of a change at each of them
(Willsky and Jones 1976, doi:10.1109/TAC.1976.1101146).
"""

import math
from collections import deque
from collections.abc import Sequence

LEAST_S, LEAST_S_PER_BIT = 1e-5, 1e-11
"""Below these a round trip and the time of a bit cannot be told from nothing."""
KEPT, LEAST, OFF = 8, 3, 2.0
"""Samples that are looked at, and how many must have been off by so many standard deviations: two
may have been held up by something else."""
EVIDENCE = 20.0
"""By which the sum of squared errors, in standard deviations, must be less for a change."""
EXPLAINED = 2.0
"""Squared error that may be left of a sample, on average: otherwise the new line is none either."""
MOST_ERROR = 4.0
"""Standard deviations that one sample counts at most, on either side."""
Sample = tuple[float, float, float]
"""Bits, seconds, and the standard deviation beyond that of others, as a share of the seconds."""


class Recent:
    """Keeps samples since the last jump, and how badly each was expected."""

    def __init__(self) -> None:
        """Begin without any."""
        self._samples: deque[tuple[Sample, float]] = deque(maxlen=KEPT)

    def clear(self) -> None:
        """Forget them."""
        self._samples.clear()

    def add(self, sample: Sample, error: float) -> None:
        """Keep a sample; `error` is how far it was off, in standard deviations."""
        self._samples.append((sample, min(abs(error), MOST_ERROR) ** 2))

    def newcomers(self, guess: tuple[float, float], noise_variance: float) -> list[Sample]:
        """Return the fewest last samples that a line of their own explains far better, or none.

        Args:
            guess: Round trip and seconds a bit as they are believed: what such a line begins from,
                without weight.
            noise_variance: Of the logarithm of a sample.
        """
        rows = list(self._samples)
        for count in range(LEAST, len(rows) + 1):
            last = [sample for sample, _ in rows[-count:]]
            errors = [error for _, error in rows[-count:]]
            now = sum(errors)
            if now <= EVIDENCE or sum(error > OFF * OFF for error in errors) < LEAST:
                continue
            left = _misfit(last, _fit(last, guess, noise_variance), noise_variance)
            if now - left > EVIDENCE and left <= EXPLAINED * count:
                return last
        return []


def _misfit(samples: Sequence[Sample], line: tuple[float, float], noise_variance: float) -> float:
    """Return the sum of squared errors of samples against a line, in standard deviations."""
    a, b = line
    return sum(
        min(
            math.log(seconds / (a + b * bits)) ** 2 / (noise_variance + doubt * doubt),
            MOST_ERROR**2,
        )
        for bits, seconds, doubt in samples
    )


def _fit(
    samples: Sequence[Sample], guess: tuple[float, float], noise_variance: float
) -> tuple[float, float]:
    """Return round trip and seconds a bit by weighted least squares, both above zero."""
    bits, seconds, _ = samples[-1]
    # As unsure as if nothing were known: each may be all of what the last one took.
    aa, ab, bb = seconds**-2.0, 0.0, (bits / seconds) ** 2
    ya, yb = guess[0] * aa, guess[1] * bb
    for bits, seconds, doubt in samples:
        weight = 1.0 / ((noise_variance + doubt * doubt) * seconds * seconds)
        aa += weight
        ab += weight * bits
        bb += weight * bits * bits
        ya += weight * seconds
        yb += weight * seconds * bits
    determinant = aa * bb - ab * ab
    a, b = (bb * ya - ab * yb) / determinant, (aa * yb - ab * ya) / determinant
    if b < LEAST_S_PER_BIT:
        b = LEAST_S_PER_BIT
        a = (ya - ab * b) / aa
    if a < LEAST_S:
        a = LEAST_S
        b = max(LEAST_S_PER_BIT, (yb - ab * a) / bb)
    return a, b
