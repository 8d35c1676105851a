"""What happened to the link to the fogs, counted by reason."""

from collections import Counter

ATTEMPTS = ("connected", "unavailable", "refused", "denied", "overloaded", "failed")
LOSSES = (
    "broken", "silent", "missed", "malformed", "draining", "overloaded", "refused", "denied",
)  # fmt: skip
SWITCHES = ("failover", "return")
DROPS = ("late", "malformed")


class LinkCounts:
    """Counters that the link's threads raise under its lock and the metrics page reads."""

    def __init__(self) -> None:
        """Start with every reason at zero."""
        self.attempts = _zeros(ATTEMPTS)
        """Attempts to connect, by outcome; all but the first of an outage are retries."""
        self.losses = _zeros(LOSSES)
        """Streams given up, by reason."""
        self.switches = _zeros(SWITCHES)
        """Changes of the fog in use: to another one, and back to a more preferred one."""
        self.drops = _zeros(DROPS)
        """Answers that no window waited for any more, or that could not be read."""


def _zeros(reasons: tuple[str, ...]) -> Counter[str]:
    return Counter(dict.fromkeys(reasons, 0))
