"""What paired blocks say: medians with quartiles, ratios block by block, shares of agents."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Return it as one reads it: median (lower quartile to upper quartile)."""
        if self.low == self.median == self.high:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles, interpolated between the two nearest values.

    Raises:
        ValueError: If there is no value.
    """
    if not values:
        raise ValueError("expected at least one value, received none")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def paired_ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float]:
    """Return the ratio of each block to the one that was measured beside it.

    A block that one side lacks or lost is left out, as is one whose denominator is 0.
    """
    return [a / b for a, b in zip(ours, theirs, strict=False) if a is not None and b]


def known(values: Sequence[float | None]) -> list[float]:
    """Return the values without the blocks that were lost."""
    return [value for value in values if value is not None]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed, interpolated.

    Raises:
        ValueError: If there is no value.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("expected at least one value, received none")
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def least_share(counts: Sequence[int]) -> float:
    """Return what the agent that got least got, as a share of the mean; 0 where nobody got any."""
    total = sum(counts)
    return min(counts) * len(counts) / total if total else 0.0
