"""Tests of augmentation against NumPy's own turns and moves."""

import numpy as np
import pytest

from optimizer.images.config import ImageAugmentConfig

pytestmark = pytest.mark.tf
IMAGES = np.random.default_rng(0).random((6, 8, 8, 3)).astype(np.float32)


def moved(angle: float = 0.0, down: float = 0.0, right: float = 0.0) -> np.ndarray:
    """Return all images changed alike."""
    from optimizer.images.augment import move

    given = (np.full(len(IMAGES), value, np.float32) for value in (angle, down, right))
    return np.asarray(move(IMAGES, *given))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns: int) -> None:
    """About the centre, counter-clockwise."""
    expected = np.rot90(IMAGES, turns, axes=(1, 2))
    np.testing.assert_allclose(moved(turns * np.pi / 2), expected, atol=1e-5)


def test_moves_repeat_the_edge() -> None:
    expected = np.pad(IMAGES, ((0, 0), (2, 0), (0, 1), (0, 0)), mode="edge")[:, :8, 1:]
    np.testing.assert_allclose(moved(down=2.0, right=-1.0), expected, atol=1e-6)


def test_half_a_pixel_is_the_mean_of_neighbours() -> None:
    expected = (IMAGES[:, :, 1:] + IMAGES[:, :, :-1]) / 2
    np.testing.assert_allclose(moved(right=0.5)[:, :, 1:], expected, atol=1e-6)


def test_nothing_asked_for_changes_nothing() -> None:
    from optimizer.images.augment import augment

    none = ImageAugmentConfig("none")
    np.testing.assert_array_equal(IMAGES, augment(IMAGES, none, np.array([1, 2], np.int32)))


def test_each_image_is_mirrored_or_not() -> None:
    """Over many seeds about half are; each result is the image or its mirror image."""
    import tensorflow as tf

    from optimizer.images.augment import augment

    turned = 0
    for seed in range(20):
        given = augment(tf.constant(IMAGES), ImageAugmentConfig(), tf.constant([seed, 0]))
        for image, result in zip(IMAGES, np.asarray(given), strict=True):
            is_turned = np.array_equal(image[:, ::-1], result)
            assert is_turned or np.array_equal(image, result)
            turned += is_turned
    assert 35 < turned < 85


def test_turns_and_moves_stay_within_their_limits_and_follow_the_seed() -> None:
    """A bright dot in the middle stays near it, and moves with the seed."""
    import tensorflow as tf

    from optimizer.images.augment import augment

    dot = np.zeros((200, 33, 33, 1), np.float32)
    dot[:, 16, 24] = 1
    config = ImageAugmentConfig("none", rotation_degrees=20, shift=0.1)
    first, same, other = (
        np.asarray(augment(tf.constant(dot), config, tf.constant([0, s]))) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    rows = first.sum(axis=(2, 3)) @ np.arange(33) / first.sum(axis=(1, 2, 3))
    # Eight pixels from the centre turned by 20 degrees, then moved by a tenth of 33.
    limit = 8 * np.sin(np.radians(20)) + 3.3
    assert np.abs(rows - 16).max() <= limit + 0.5
    assert np.abs(rows - 16).max() > 0.8 * limit
