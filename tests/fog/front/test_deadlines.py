"""What was begun first is due first, and what has ended is never due."""

import pytest

from fog_server.front.deadlines import Deadlines


class Times:
    """Deadlines of ten seconds, on a clock that is set by hand."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.now = 0.0
        self.expired: list[str] = []
        self.deadlines = Deadlines[str](10.0, self.expired.append, lambda: self.now)


@pytest.fixture
def times() -> Times:
    """Return two that were begun a second apart."""
    times = Times()
    times.deadlines.begin("a")
    times.now = 1.0
    times.deadlines.begin("b")
    return times


def test_each_expires_in_its_time(times):
    assert 9.0 == times.deadlines.sweep()
    times.now = 10.0
    assert 1.0 == times.deadlines.sweep()
    assert ["a"] == times.expired
    times.now = 12.0
    assert None is times.deadlines.sweep()
    assert (["a", "b"], 0) == (times.expired, len(times.deadlines))


def test_what_has_ended_does_not_expire(times):
    times.deadlines.end("a")
    times.deadlines.end("never begun")
    times.now = 20.0
    times.deadlines.sweep()
    assert ["b"] == times.expired


def test_what_is_begun_anew_has_all_its_time(times):
    times.now = 9.0
    times.deadlines.begin("a")
    assert 2.0 == times.deadlines.sweep()
    times.now = 18.0
    times.deadlines.sweep()
    assert (["b"], True) == (times.expired, "a" in times.deadlines)


def test_first_can_be_hastened(times):
    assert times.deadlines.hasten()
    assert ["a"] == times.expired
    assert times.deadlines.hasten()
    assert not times.deadlines.hasten()
