"""Medians, quartiles, paired ratios, percentiles and shares, against hand calculation and NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paired import Spread, least_share, paired_ratios, percentile, spread

numbers = st.lists(st.floats(0.001, 1e6), min_size=2, max_size=30)


def test_spread_of_five_values_is_read_off() -> None:
    assert Spread(3.0, 2.0, 4.0) == spread([5.0, 1.0, 3.0, 2.0, 4.0])


@given(numbers)
def test_spread_equals_numpy(values: list[float]) -> None:
    expected = np.percentile(values, [50, 25, 75])
    found = spread(values)
    assert expected == pytest.approx([found.median, found.low, found.high])


@given(numbers, st.sampled_from([0, 50, 95, 99, 100]))
def test_percentile_equals_numpy(values: list[float], percent: float) -> None:
    assert np.percentile(values, percent) == pytest.approx(percentile(values, percent))


@pytest.mark.parametrize("count", [spread, lambda values: percentile(values, 50)])
def test_no_value_is_an_error(count) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        count([])


def test_ratios_are_of_neighbours_and_leave_out_what_one_side_lacks() -> None:
    """Ratio of medians: 2 / 3; median of ratios: 1."""
    ours, theirs = [1.0, 2.0, 9.0, 5.0], [1.0, 4.0, 3.0]
    assert [1.0, 0.5, 3.0] == paired_ratios(ours, theirs)
    assert [2.0] == paired_ratios([1.0, 2.0], [0.0, 1.0])
    assert [2.0] == paired_ratios([None, 2.0, 3.0], [1.0, 1.0, None])


def test_least_share_of_a_hand_count() -> None:
    assert 0.5 == least_share([1, 2, 3, 2])
    assert 1.0 == least_share([7, 7])
    assert 0.0 == least_share([0, 0])


def test_text_names_quartiles_unless_there_are_none() -> None:
    assert "0.80 (0.70 to 0.95)" == Spread(0.8, 0.7, 0.95).text()
    assert "85" == spread([85.0]).text(0)
