"""Calls made again: how long, how often, and what is said meanwhile."""

import pytest

from reoptimization.outcome import Code, Stopped
from reoptimization.patience import LONGEST_PAUSE_S, Away, Patience


class Time:
    """A clock that sleeping turns."""

    def __init__(self) -> None:
        self.now, self.pauses = 100.0, []

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.pauses.append(seconds)


@pytest.fixture
def time() -> Time:
    return Time()


def test_call_is_made_again_until_it_is_answered(time) -> None:
    """Each reason is said once."""
    said: list[str] = []
    ends = iter(["fog: refused", "fog: refused", "fog: no route", None])

    def call() -> str:
        if reason := next(ends):
            raise Away(reason)
        return "answer"

    patience = Patience(60.0, said.append, lambda: time.now, time.sleep)
    assert "answer" == patience.call(call)
    assert ["fog: refused; trying again", "fog: no route; trying again"] == said
    assert [0.5, 1.0, 2.0] == time.pauses


def test_far_side_that_stays_away_ends_the_request_in_time(time) -> None:
    """With one last try when the time is over, and pauses that do not grow for ever."""

    def call() -> None:
        raise Away("fog: refused")

    patience = Patience(60.0, lambda text: None, lambda: time.now, time.sleep)
    with pytest.raises(Stopped, match="fog: refused") as caught:
        patience.call(call)
    assert (Code.AWAY, 160.0, 0.0) == (caught.value.code, time.now, patience.left_s)
    assert max(time.pauses) == LONGEST_PAUSE_S


def test_what_is_refused_is_not_asked_again(time) -> None:
    def call() -> None:
        raise Stopped(Code.DENIED, "no right")

    with pytest.raises(Stopped, match="no right"):
        Patience(60.0, lambda text: None, lambda: time.now, time.sleep).call(call)
    assert [] == time.pauses
