"""Objectives against brute force, and when a better option is taken."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.meter import NoMeter
from edge_agent.partition.choose import HASTY_S, Calm, Chooser, Objective
from edge_agent.partition.predict import Costs
from headtail.errors import ConfigError

POSITIVE = st.floats(1e-4, 10.0)
PAIRS = st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=12)
NO_DOUBT = np.zeros(2)


def costs(pairs: list[tuple[float, float]]) -> Costs:
    """Return the costs of (latency, energy) pairs."""
    return Costs(*(np.array(column) for column in zip(*pairs, strict=True)))


@given(PAIRS, POSITIVE)
def test_deadline_takes_the_least_energy_that_keeps_it(pairs, deadline_s: float) -> None:
    best = int(np.argmin(Objective("deadline", deadline_s=deadline_s).scores(costs(pairs))))
    keeping = [p for p in pairs if p[0] <= deadline_s]
    if keeping:
        assert min(j for _, j in keeping) == pairs[best][1]
        assert pairs[best][0] <= deadline_s


@given(PAIRS, POSITIVE)
def test_bound_on_energy_is_kept_where_it_can_be(pairs, most_j: float) -> None:
    best = int(np.argmin(Objective(max_energy_j=most_j).scores(costs(pairs))))
    keeping = [p for p in pairs if p[1] <= most_j]
    if keeping:
        assert min(s for s, _ in keeping) == pairs[best][0]
        assert pairs[best][1] <= most_j


@given(PAIRS, st.floats(0, 1))
def test_weighted_is_the_sum_of_multiples_of_the_least(pairs, share: float) -> None:
    least_s, least_j = (min(column) for column in zip(*pairs, strict=True))
    expected = [share * s / least_s + (1 - share) * j / least_j for s, j in pairs]
    assert expected == pytest.approx(Objective("weighted", share).scores(costs(pairs)))


def test_energy_without_profiles_is_refused() -> None:
    with pytest.raises(ConfigError, match="--device-profile"):
        Objective("edge_energy").check(NoMeter())
    Objective().check(NoMeter())


def chosen(margin: float, gains: list[float]) -> list[int]:
    """Return the option in use after each second, where the other one gains so much."""
    chooser, found = Chooser(0, Calm(margin, 0.0)), []
    for second, gain in enumerate(gains):
        scores = np.array([1.0, 1.0])
        scores[1 - chooser.current] -= gain
        chooser.choose(scores, lambda: NO_DOUBT, float(second))
        found.append(chooser.current)
    return found


def test_gain_below_the_margin_changes_nothing() -> None:
    assert [0] * 5 == chosen(0.02, [0.019] * 5)
    assert chosen(0.02, [0.03])[-1] == 1


def test_two_equal_options_do_not_take_turns() -> None:
    """Five percent either way, every second: no more than one change in a minute."""
    turns = chosen(0.02, [0.05] * 60)
    assert sum(a != b for a, b in pairwise(turns)) <= 5


def test_dwell_holds_unless_something_has_jumped() -> None:
    chooser = Chooser(0, Calm(0.0, 10.0))
    better_1, better_0 = np.array([2.0, 1.0]), np.array([1.0, 2.0])
    assert chooser.choose(better_1, lambda: NO_DOUBT, 0.0)
    assert not chooser.choose(better_0, lambda: NO_DOUBT, 5.0)
    chooser.jumped()
    assert chooser.choose(better_0, lambda: NO_DOUBT, 5.0)


def test_doubt_holds() -> None:
    chooser = Chooser(0, Calm(0.0, 0.0))
    scores = np.array([1.0, 0.8])
    assert not chooser.choose(scores, lambda: np.array([0.0, 0.5]), 0.0)
    assert chooser.is_open(scores, np.array([0.0, 0.5]))
    assert chooser.choose(scores, lambda: np.array([0.0, 0.1]), 0.0)


UNEQUAL = np.array([2.0, 1.0, 0.97])
IN_DOUBT, KNOWN = np.array([0.0, 0.1, 0.5]), np.array([0.1, 0.0, 0.001])


def test_choice_in_doubt_after_a_jump_is_mended_once_more_is_known() -> None:
    """However short its stay; the one after it stays."""
    chooser = Chooser(0, Calm(0.02, 10.0))
    assert chooser.choose(UNEQUAL, lambda: IN_DOUBT, 0.0)
    assert 1 == chooser.current
    assert chooser.choose(UNEQUAL, lambda: KNOWN, 0.2)
    assert 2 == chooser.current
    assert not chooser.choose(UNEQUAL[[0, 2, 1]], lambda: KNOWN, 0.4)


def test_haste_leads_to_no_option_that_tells_nothing_more() -> None:
    """Nor back: what is better by more than the margin there is no reason yet."""
    chooser = Chooser(0, Calm(0.02, 0.0), np.array([True, True, False]))
    assert chooser.choose(UNEQUAL, lambda: IN_DOUBT, 0.0)
    assert not chooser.choose(UNEQUAL, lambda: KNOWN, 0.2)
    assert not chooser.choose(np.array([0.97, 1.0, 2.0]), lambda: KNOWN, 0.4)


def test_choice_in_doubt_stays_where_the_jump_was_long_ago() -> None:
    chooser = Chooser(0, Calm(0.02, 10.0))
    assert not chooser.choose(np.ones(3), lambda: IN_DOUBT, 0.0)
    assert chooser.choose(UNEQUAL, lambda: IN_DOUBT, HASTY_S)
    assert not chooser.choose(UNEQUAL, lambda: KNOWN, HASTY_S + 0.2)


def test_option_that_is_not_served_is_left_at_once() -> None:
    chooser = Chooser(0, Calm(1.0, 100.0))
    chooser.choose(np.array([math.inf, 9.0]), lambda: NO_DOUBT, 0.0)
    assert chooser.current == 1
