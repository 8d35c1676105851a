"""A circuit breaker for each fog: when it may be tried, and when it counts as mended.

Pure: times come in, on the holder's monotonic clock, in seconds; its holder's lock guards it.
"""

from collections.abc import Callable, Iterator
from enum import Enum

MAX_RELAPSES = 5
"""Stays that ended early and are counted; the dwell grows at most 2**5 times."""


class State(Enum):
    """Of a breaker."""

    CLOSED = "closed"
    """The fog is used, or may be."""
    OPEN = "open"
    """The fog is left alone until `not_before_s`."""
    HALF_OPEN = "half-open"
    """One attempt is under way; it decides."""


class Breaker:
    """Counts what a fog does wrong, and says when to try it again."""

    def __init__(
        self, delays: Callable[[], Iterator[float]], max_misses: int, stable_s: float
    ) -> None:
        """Begin closed.

        Args:
            delays: Makes the generator of delays, in seconds, from one attempt to the next.
            max_misses: Windows in a row that bring no answer before it opens.
            stable_s: A fog that has answered and stayed for so long is mended: its next delay is
                a first one again.
        """
        self.state = State.CLOSED
        self.not_before_s = float("-inf")
        """When the fog may be tried again."""
        self.misses = 0
        """Windows in a row that brought no answer."""
        self.needs_trial = False
        """Whether the fog was left for not answering: a connection then proves nothing."""
        self._delays = delays
        self._waits = delays()
        self._max_misses = max_misses
        self._stable_s = stable_s
        self._connected_s: float | None = None
        self._has_answered = False
        self._relapses = 0

    @property
    def relapses(self) -> int:
        """Stays in a row that ended early."""
        return self._relapses

    def dwell_s(self, least_s: float) -> float:
        """Return how long to stay with another fog before coming back to this one.

        It doubles each time this one was come back to and lost again early.
        """
        return float(least_s * 2**self._relapses)

    def try_now(self) -> None:
        """Let one attempt through."""
        if self.state is State.OPEN:
            self.state = State.HALF_OPEN

    def connected(self, now_s: float) -> None:
        """Note a connection; it closes the breaker unless an answer is needed for that."""
        self._connected_s = now_s
        self._has_answered = False
        self.misses = 0
        if not self.needs_trial:
            self.state = State.CLOSED

    def answered(self) -> None:
        """Note an answer: no miss is in a row with those before it."""
        self.misses = 0
        if not self._has_answered:
            self._has_answered = True
            self.needs_trial = False
            self.state = State.CLOSED

    def missed(self) -> bool:
        """Note a window without an answer; return whether those were too many in a row."""
        self.misses += 1
        return self.misses >= self._max_misses or self.state is State.HALF_OPEN

    def trip(self, now_s: float, at_least_s: float = 0.0) -> None:
        """Open, after a lost connection, a failed attempt or too many misses.

        Args:
            now_s: Now.
            at_least_s: What the fog asks for, or what is known to be in vain.
        """
        if self._connected_s is not None:
            self._judge_stay(now_s - self._connected_s)
            self._connected_s = None
        self.state = State.OPEN
        self.not_before_s = now_s + at_least_s + next(self._waits, 0.0)

    def _judge_stay(self, stay_s: float) -> None:
        """Forgive after a long stay with answers; remember an early end."""
        if self._has_answered and stay_s >= self._stable_s:
            self._waits = self._delays()
            self._relapses = 0
        else:
            self._relapses = min(self._relapses + 1, MAX_RELAPSES)
