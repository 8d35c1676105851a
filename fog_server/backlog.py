"""How long a stream's windows lay on the way before they were read.

A stream is read one message after the other, so what an agent sends ahead waits unread: the
deadline that a message carries began long before. The clocks of the two machines are strangers,
but each message says when it left on the agent's; the least difference seen lately is the offset
of the clocks and the way itself, and whatever a message took above it, it spent waiting.

Source: the base delay of LEDBAT, RFC 6817, section 2.4.2.
"""

_MEMORY_S = 60.0  # clocks that drift apart by 100 ppm do so by 12 ms in two such spans


class Backlog:
    """One stream's; not for several threads."""

    def __init__(self) -> None:
        """Know nothing of the agent's clock yet."""
        self._began_s = 0.0
        self._least_s = self._least_before_s = float("inf")

    def waited_s(self, sent_s: float, now_s: float) -> float:
        """Return how long a message waited beyond what the way takes at best, in seconds.

        Args:
            sent_s: When it left, on the agent's clock, from any origin.
            now_s: Now, on ours.
        """
        taken_s = now_s - sent_s
        if now_s - self._began_s >= _MEMORY_S:
            self._least_before_s, self._least_s = self._least_s, taken_s
            self._began_s = now_s
        self._least_s = min(self._least_s, taken_s)
        return taken_s - min(self._least_s, self._least_before_s)
