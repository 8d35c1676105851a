"""How long to wait between attempts to reach a fog."""

import random
from collections.abc import Iterator


def delays(first_s: float, cap_s: float, rng: random.Random) -> Iterator[float]:
    """Yield delays in seconds, each drawn from zero to a limit that doubles up to a cap.

    The full jitter spreads agents that lost the same fog at the same moment evenly over the limit;
    keeping a part of it fixed would let them come in waves.

    Args:
        first_s: Largest first delay.
        cap_s: Largest delay ever.
        rng: Source of the jitter.

    Source: Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015 ("full jitter").
    """
    limit_s = first_s
    while True:
        yield rng.uniform(0.0, min(limit_s, cap_s))
        limit_s = min(2.0 * limit_s, cap_s)
