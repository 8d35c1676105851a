"""How sure a classifier is of a window; it drifts where inputs no longer look as they did."""

import math
from collections.abc import Sequence

SUM_TOLERANCE = 1e-2
"""How far the sum of probabilities may be from one; a head or tail in float16 is off by 1e-3."""


def confidence(output: Sequence[float]) -> float | None:
    """Return the probability of the likeliest class, 0 to 1; None where there are no two classes.

    Values that are no probabilities are taken for logits.

    Args:
        output: A window's values, one per class, probabilities or logits.
    """
    if len(output) < 2:
        return None
    largest = max(output)
    if not math.isfinite(largest):
        return None
    if min(output) >= 0.0 and abs(sum(output) - 1.0) <= SUM_TOLERANCE:
        return min(largest, 1.0)
    return 1.0 / sum(math.exp(value - largest) for value in output)
