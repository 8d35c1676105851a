"""Fronts, ranks and crowding against their definitions, checked pair by pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.search.pareto import crowding, nondominated, ranks, worth

POINTS = st.builds(
    lambda count, objectives, seed: (
        np.random.default_rng(seed).integers(0, 5, (count, objectives)).astype(float)
    ),
    st.integers(0, 20),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether `one` is nowhere worse and somewhere better."""
    return bool((one <= other).all() and (one < other).any())


@given(POINTS)
def test_front_is_what_none_dominates(points: np.ndarray) -> None:
    """Every value once, at its first place."""
    expected = [
        i
        for i, p in enumerate(points)
        if not any(dominates(q, p) for q in points) and not any((q == p).all() for q in points[:i])
    ]
    assert expected == nondominated(points).tolist()


@given(POINTS)
def test_rank_counts_the_fronts_that_must_be_taken_away_first(points: np.ndarray) -> None:
    """Peeled off one after another."""
    expected, left, front = {}, set(range(len(points))), 0
    while left:
        best = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        expected |= dict.fromkeys(best, front)
        left, front = left - best, front + 1
    assert [expected[i] for i in range(len(points))] == ranks(points).tolist()


def test_crowding_is_the_side_of_the_box_between_the_neighbours() -> None:
    """Of (0, 4), (1, 2), (4, 0): 4/4 + 4/4 in the middle."""
    assert [np.inf, 2.0, np.inf] == crowding(np.array([[0, 4], [1, 2], [4, 0]], float)).tolist()
    assert [0.0, 0.0] == crowding(np.ones((2, 2))).tolist()


@given(POINTS)
def test_worth_puts_an_earlier_front_above_every_later_one(points: np.ndarray) -> None:
    """Whatever the crowding; a repeated point is worth least of its front."""
    rank, value = ranks(points), worth(points)
    for i in range(len(points)):
        assert -rank[i] <= value[i] < -rank[i] + 1
        if any((points[j] == points[i]).all() for j in range(i)):
            assert value[i] == -rank[i]


def test_less_crowded_is_worth_more_within_a_front() -> None:
    """The ends first, then the one with room around it."""
    points = np.array([[0, 10], [1, 9], [2, 8], [6, 4], [10, 0]], float)
    value = worth(points)
    assert value[0] == value[4] == pytest.approx(0.99)
    assert value[0] > value[3] > value[1]
