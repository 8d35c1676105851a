"""Volumes against counting, a sum over all subsets, another library's and sampling."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygad.utils.quality_indicators import hypervolume as pygad_hypervolume

from optimizer.search.hypervolume import hypervolume


def by_inclusion_exclusion(points: np.ndarray, reference: np.ndarray) -> float:
    """Return the volume of the union of boxes as the signed sum over all their subsets."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for subset in itertools.combinations(points, size):
            corner = np.max(subset, axis=0)
            total -= (-1) ** size * float(np.prod(np.maximum(reference - corner, 0)))
    return total


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], 0.0),
        ([[1, 1, 1]], 27.0),
        ([[1, 3], [2, 2], [3, 1]], 6.0),
        ([[1, 3], [3, 1], [3, 3], [5, 0]], 5.0),
        ([[4, 1]], 0.0),
        ([[2], [3], [1]], 3.0),
    ],
)
def test_small_volumes_are_those_counted_by_hand(points: list, expected: float) -> None:
    """Of boxes below (4, ..., 4); what is not below in every objective adds nothing."""
    objectives = len(points[0]) if points else 2
    array = np.asarray(points, float).reshape(-1, objectives)
    assert expected == hypervolume(array, np.full(objectives, 4.0))


@given(st.integers(1, 5), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_volume_is_that_of_inclusion_and_exclusion(objectives: int, count: int, seed: int) -> None:
    """On a coarse grid, so that many coordinates and points are equal."""
    points = np.random.default_rng(seed).integers(0, 6, (count, objectives)).astype(float)
    reference = np.full(objectives, 5.0)
    expected = by_inclusion_exclusion(points, reference)
    assert pytest.approx(expected, abs=1e-9) == hypervolume(points, reference)


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_volume_of_a_larger_front_is_that_of_pygad(objectives: int) -> None:
    """Which maximises, so the signs are turned."""
    points = np.random.default_rng(objectives).random((25, objectives))
    reference = np.ones(objectives)
    assert pytest.approx(pygad_hypervolume(-points, -reference)) == hypervolume(points, reference)


def test_volume_of_a_front_of_five_objectives_is_that_of_sampling() -> None:
    """Within four standard deviations of 200,000 drawn points."""
    rng = np.random.default_rng(3)
    front = rng.random((60, 5))
    front /= np.linalg.norm(front, axis=1, keepdims=True)
    sample = rng.random((200_000, 5))
    inside = np.zeros(len(sample), bool)
    for point in front:
        inside |= (sample >= point).all(axis=1)
    share = inside.mean()
    deviation = np.sqrt(share * (1 - share) / len(sample))
    assert pytest.approx(share, abs=4 * deviation) == hypervolume(front, np.ones(5))


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_volume_never_falls_when_a_point_is_added(objectives: int, seed: int) -> None:
    """And the order of the points says nothing."""
    rng = np.random.default_rng(seed)
    points, reference = rng.random((8, objectives)), np.ones(objectives)
    before, after = hypervolume(points[:-1], reference), hypervolume(points, reference)
    assert before <= after + 1e-12
    assert pytest.approx(after) == hypervolume(rng.permutation(points), reference)


@pytest.mark.parametrize(
    ("points", "reference", "message"),
    [
        (np.zeros((2, 3)), np.ones(2), r"expected points of shape \(N, 2\)"),
        (np.full((1, 2), np.nan), np.ones(2), "finite"),
        (np.zeros((1, 2)), np.array([1, np.inf]), "finite"),
    ],
)
def test_what_has_no_volume_is_refused(
    points: np.ndarray, reference: np.ndarray, message: str
) -> None:
    """Shapes that do not fit, and values that are no numbers."""
    with pytest.raises(ValueError, match=message):
        hypervolume(points, reference)
