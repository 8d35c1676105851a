"""Tests of the beat matching."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from optimizer.data.match import match

BEATS = st.lists(st.integers(0, 1000), unique=True, max_size=30).map(sorted)


def test_beats_within_150_ms_match() -> None:
    """At 100 Hz, 15 samples match and 16 do not."""
    found = match([100, 200, 300], [115, 216, 300], 100)
    assert [[0, 0], [2, 2]] == found.pairs.tolist()
    assert pytest.approx(2 / 3) == found.sensitivity
    assert pytest.approx(2 / 3) == found.positive_predictivity


def test_nearer_of_two_free_detections_is_the_beat() -> None:
    assert [[0, 1]] == match([100], [90, 101, 110], 100).pairs.tolist()


def test_detection_is_shared_by_no_two_beats() -> None:
    found = match([100, 110], [105], 100)
    assert [[0, 0]] == found.pairs.tolist()
    assert 0.5 == found.sensitivity


def test_nothing_to_match_is_perfect() -> None:
    found = match([], [], 100)
    assert (1.0, 1.0) == (found.sensitivity, found.positive_predictivity)


@given(BEATS, BEATS)
def test_no_matching_has_more_pairs(reference: list[int], detected: list[int]) -> None:
    """The count is that of SciPy's maximum bipartite matching; pairs rise and lie in reach."""
    pairs = match(reference, detected, 100).pairs
    near = (
        np.abs(np.subtract.outer(reference, detected)).reshape(len(reference), len(detected)) <= 15
    )
    best = 0
    if near.size:
        best = int(np.sum(maximum_bipartite_matching(csr_array(near)) >= 0))
    assert best == len(pairs)
    assert all(near[i, j] for i, j in pairs)
    assert np.all(np.diff(pairs, axis=0) > 0)
