"""Calls that are made again while the far side is away, until the time of the request is over."""

import time
from collections.abc import Callable
from typing import TypeVar

from reoptimization.outcome import Code, Stopped

PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
T = TypeVar("T")


class Away(Exception):
    """The far side is not there now; its text says who and why."""


class Patience:
    """The time that a request has left."""

    def __init__(
        self,
        timeout_s: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin now; `say` is told once of each reason to wait."""
        self._clock = clock
        self._sleep = sleep
        self._say = say
        self._give_up_at = clock() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds left, never less than 0."""
        return max(0.0, self._give_up_at - self._clock())

    def call(self, what: Callable[[], T]) -> T:
        """Return what a call returns; while it raises Away it is made again.

        Raises:
            Stopped: When the time is over.
        """
        pause_s, told = PAUSE_S, ""
        while True:
            try:
                return what()
            except Away as away:
                if not self.left_s:
                    raise Stopped(Code.AWAY, str(away)) from None
                if str(away) != told:
                    told = str(away)
                    self._say(f"{told}; trying again")
            self.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def wait(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self._sleep(min(seconds, self.left_s))
