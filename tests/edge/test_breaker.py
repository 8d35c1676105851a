"""The circuit breaker, on a clock of its own."""

from collections.abc import Iterator

import pytest

from edge_agent.breaker import MAX_RELAPSES, Breaker, State


def doubling() -> Iterator[float]:
    """Yield 1, 2, 4, ... seconds."""
    delay_s = 1.0
    while True:
        yield delay_s
        delay_s *= 2.0


@pytest.fixture
def breaker() -> Breaker:
    """Return a breaker that opens after three misses and forgives after ten seconds."""
    return Breaker(doubling, 3, 10.0)


def test_it_opens_after_misses_in_a_row(breaker):
    breaker.connected(0.0)
    assert [False, False] == [breaker.missed(), breaker.missed()]
    breaker.answered()
    breaker.misses = 0
    assert [False, False, True] == [breaker.missed() for _ in range(3)]


def test_each_failure_in_a_row_waits_longer(breaker):
    waits = []
    for now_s in (0.0, 10.0, 20.0):
        breaker.trip(now_s)
        assert State.OPEN is breaker.state
        waits.append(breaker.not_before_s - now_s)
        breaker.try_now()
        assert State.HALF_OPEN is breaker.state
    assert [1.0, 2.0, 4.0] == waits


def test_a_connection_closes_it_where_the_connection_had_been_lost(breaker):
    breaker.trip(0.0)
    breaker.try_now()
    breaker.connected(1.0)
    assert State.CLOSED is breaker.state


def test_only_an_answer_closes_it_where_answers_were_missing(breaker):
    breaker.connected(0.0)
    breaker.trip(1.0)
    breaker.needs_trial = True
    breaker.try_now()
    breaker.connected(2.0)
    assert (State.HALF_OPEN, True) == (breaker.state, breaker.needs_trial)
    assert breaker.missed()  # the first miss of a trial is enough
    breaker.answered()
    assert (State.CLOSED, False) == (breaker.state, breaker.needs_trial)


def test_failed_attempts_do_not_forget_that_answers_were_missing(breaker):
    breaker.connected(0.0)
    breaker.trip(1.0)
    breaker.needs_trial = True
    breaker.trip(2.0)
    assert breaker.needs_trial


def test_a_long_stay_with_answers_is_forgiven(breaker):
    breaker.trip(0.0)
    breaker.trip(0.0)
    breaker.connected(1.0)
    breaker.answered()
    breaker.trip(11.0)
    assert (1.0, 0) == (breaker.not_before_s - 11.0, breaker.relapses)


def test_a_short_stay_is_not(breaker):
    """A fog that comes, answers and goes gets rarer visits, up to a limit."""
    dwells, waits = [], []
    for i in range(8):
        breaker.connected(100.0 * i)
        breaker.answered()
        breaker.trip(100.0 * i + 9.0)
        dwells.append(breaker.dwell_s(10.0))
        waits.append(breaker.not_before_s - 100.0 * i - 9.0)
    assert [20.0, 40.0, 80.0, 160.0, 320.0, 320.0] == dwells[:6]
    assert 10.0 * 2**MAX_RELAPSES == dwells[-1]
    assert sorted(waits) == waits


def test_what_the_fog_asks_for_is_the_least(breaker):
    breaker.trip(5.0, at_least_s=60.0)
    assert 66.0 == breaker.not_before_s
