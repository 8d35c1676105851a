"""Tests of the window steps for images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headtail.errors import ShapeMismatch
from headtail.preprocess.image import Layout, Resize

SIDES = st.integers(1, 40)


@given(SIDES, SIDES, SIDES, SIDES)
def test_bilinear_equals_pillow(height: int, width: int, to_height: int, to_width: int) -> None:
    """One channel of floats comes out as Pillow's BILINEAR gives it, growing and shrinking."""
    image = np.random.default_rng(height).uniform(size=(height, width)).astype(np.float32)
    pillow = Image.fromarray(image).resize((to_width, to_height), Image.Resampling.BILINEAR)
    actual = Resize(height=to_height, width=to_width).apply(image)
    np.testing.assert_allclose(np.asarray(pillow), actual, atol=1e-5)


def test_channels_do_not_mix() -> None:
    """Each channel is resized on its own."""
    image = np.zeros((8, 6, 3), np.float32)
    image[..., 1] = 5
    resized = Resize(height=5, width=9).apply(image)
    np.testing.assert_allclose(np.broadcast_to([0, 5, 0], (5, 9, 3)), resized, atol=1e-6)


def test_nearest_takes_pixels_as_they_are() -> None:
    image = np.arange(16.0).reshape(4, 4)
    expected = [[5, 7], [13, 15]]
    np.testing.assert_array_equal(
        expected, Resize(height=2, width=2, method="nearest").apply(image)
    )


def test_layout_moves_the_channels_first() -> None:
    assert (3, 4, 5) == Layout(order="chw").apply(np.ones((4, 5, 3))).shape
    assert (1, 4, 5) == Layout(order="chw").apply(np.ones((4, 5))).shape
    assert (4, 5, 1) == Layout(order="hwc").apply(np.ones((4, 5))).shape


@pytest.mark.parametrize("step", [Resize(height=2, width=2), Layout(order="chw")])
def test_what_is_no_image_is_refused(step: Resize | Layout) -> None:
    with pytest.raises(ShapeMismatch, match=r"preprocess step '(resize|layout)': expected shape"):
        step.apply(np.ones(4))
