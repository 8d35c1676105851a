"""How long to wait between attempts to reach the fog."""

import random
from collections.abc import Iterator


def delays(first_s: float, cap_s: float, rng: random.Random) -> Iterator[float]:
    """Yield delays in seconds: doubling up to a cap, each drawn from its upper half.

    The jitter keeps agents that lost the same fog from coming back at the same moment; half of the
    delay is kept, so that a delay never comes to nothing.

    Args:
        first_s: Largest first delay.
        cap_s: Largest delay ever.
        rng: Source of the jitter.
    """
    delay = first_s
    while True:
        yield min(delay, cap_s) * rng.uniform(0.5, 1.0)
        delay = min(2.0 * delay, cap_s)
