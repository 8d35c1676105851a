"""Tests of the window steps for signals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import ShapeMismatch
from headtail.preprocess.window import Interpolate, MinMax, Pad, Reshape, Scale


def test_pad_appends_up_to_the_length() -> None:
    np.testing.assert_array_equal([1, 2, 9, 9], Pad(length=4, value=9).apply(np.array([1, 2])))


@pytest.mark.parametrize(("have", "want"), [(4, 4), (5, 8), (187, 188)])
def test_pad_appends_up_to_a_multiple(have: int, want: int) -> None:
    assert (want, 2) == Pad(multiple=4).apply(np.ones((have, 2))).shape


def test_pad_refuses_a_longer_window() -> None:
    with pytest.raises(ShapeMismatch, match=r"'pad': expected shape \(4, 2\), received \(5, 2\)"):
        Pad(length=4).apply(np.ones((5, 2)))


def test_interpolate_halves_every_step() -> None:
    """Three values on a line become five on the same line; both ends stay."""
    np.testing.assert_allclose(
        [0, 1, 2, 6, 10], Interpolate(length=5).apply(np.array([0, 2, 10.0]))
    )


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 3))
def test_interpolate_equals_numpy_in_each_channel(have: int, want: int, channels: int) -> None:
    """Each channel is interpolated on its own, as numpy.interp does."""
    window = np.random.default_rng(have).normal(size=(have, channels))
    place = np.linspace(0, have - 1, want)
    expected = np.stack([np.interp(place, np.arange(have), c) for c in window.T], axis=1)
    np.testing.assert_allclose(expected, Interpolate(length=want).apply(window), atol=1e-12)


def test_minmax_fills_the_unit_range() -> None:
    np.testing.assert_array_equal([0, 0.5, 1], MinMax().apply(np.array([2.0, 3.0, 4.0])))


def test_minmax_of_a_constant_is_zero() -> None:
    np.testing.assert_array_equal(np.zeros(3), MinMax().apply(np.full(3, 5.0)))


def test_scale_takes_a_number_or_one_per_channel() -> None:
    window = np.array([[1.0, 2.0]])
    np.testing.assert_array_equal([[1, 3]], Scale(gain=2, offset=-1).apply(window))
    np.testing.assert_array_equal([[2, 6]], Scale(gain=(2, 3)).apply(window))


def test_scale_refuses_a_list_of_another_length() -> None:
    with pytest.raises(ShapeMismatch, match=r"'scale': expected shape \(1, 3\), received \(1, 2\)"):
        Scale(offset=(1, 2, 3)).apply(np.ones((1, 2)))


def test_reshape_adds_a_channel_axis() -> None:
    assert (187, 1) == Reshape(shape=(187, 1)).apply(np.ones(187)).shape


def test_reshape_refuses_another_number_of_values() -> None:
    with pytest.raises(ShapeMismatch, match=r"'reshape': expected shape \(3\), received \(4\)"):
        Reshape(shape=(3,)).apply(np.ones(4))
