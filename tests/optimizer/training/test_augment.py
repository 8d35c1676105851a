"""Changes of training windows: each within its limit, drawn for every window by itself."""

import numpy as np

from optimizer.recipe.recipe import AugmentConfig
from optimizer.training.augment import augment


def test_augmentation_that_is_off_returns_the_windows_themselves() -> None:
    """No copy, no change."""
    x = np.zeros((8, 16, 1), np.float32)
    assert augment(x, AugmentConfig(), np.random.default_rng(1)) is x


def test_shift_moves_every_window_and_repeats_its_ends() -> None:
    """Each one by its own number of samples within the limit."""
    x = np.arange(16, dtype=np.float32).reshape(1, 16, 1).repeat(200, axis=0)
    moved = augment(x, AugmentConfig(shift=2), np.random.default_rng(1))[:, :, 0]
    expected = {tuple(np.clip(np.arange(16) + n, 0, 15)) for n in range(-2, 3)}
    assert expected == {tuple(int(v) for v in row) for row in moved}


def test_gain_scales_each_window_within_its_limit() -> None:
    """One factor per window."""
    x = np.ones((100, 16, 1), np.float32)
    scaled = augment(x, AugmentConfig(gain=0.2), np.random.default_rng(1))
    assert np.all(scaled == scaled[:, :1])
    assert 0.8 <= float(scaled.min()) < 0.85
    assert 1.15 < float(scaled.max()) <= 1.2
    assert scaled.dtype == np.float32


def test_stretch_reads_between_samples_from_the_start_on() -> None:
    """Sample i of a stretched ramp is i times the factor, as far as the ramp goes."""
    x = np.arange(64, dtype=np.float32).reshape(1, 64, 1).repeat(50, axis=0)
    stretched = augment(x, AugmentConfig(stretch=0.05), np.random.default_rng(2))[:, :, 0]
    factors = stretched[:, 32] / 32
    assert 0.95 <= factors.min() < 0.97
    assert 1.03 < factors.max() <= 1.05
    expected = np.minimum(np.outer(factors, np.arange(64)), 63)
    np.testing.assert_allclose(stretched, expected, rtol=1e-4, atol=1e-3)


def test_noise_is_gaussian_and_another_for_every_window() -> None:
    """Of the asked deviation; channels of a window differ too."""
    x = np.zeros((400, 32, 2), np.float32)
    noisy = augment(x, AugmentConfig(noise=0.5), np.random.default_rng(3))
    assert abs(float(noisy.std()) - 0.5) < 0.02
    assert abs(float(noisy.mean())) < 0.02
    assert len(np.unique(noisy[:, 0, 0])) > 380
    assert not np.array_equal(noisy[0, :, 0], noisy[0, :, 1])
