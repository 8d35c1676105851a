"""Small changes of training windows, drawn anew for every pass."""

import numpy as np
from numba import njit

from headtail.tensor import Array
from optimizer.recipe.recipe import AugmentConfig

NOISE_VALUES = 1 << 16  # drawn for a pass; every window takes a stretch of them from a random place


def augment(windows: Array, config: AugmentConfig, rng: np.random.Generator) -> Array:
    """Return windows changed a little each; the very array where all is off.

    Args:
        windows: float32, shape (N, length, ...), left as they are.
        config: What may change, and by how much.
        rng: Draws one change of each kind for every window.

    Returns:
        float32, shape as given.
    """
    if config == AugmentConfig():
        return windows
    count, length = windows.shape[:2]
    series = np.ascontiguousarray(windows, np.float32).reshape(count, length, -1)
    shifts = rng.integers(-config.shift, config.shift + 1, count)
    stretches = rng.uniform(1 - config.stretch, 1 + config.stretch, count)
    gains = rng.uniform(1 - config.gain, 1 + config.gain, count)
    changes = np.stack([shifts, stretches, gains], axis=1).astype(np.float32)
    values = length * series.shape[2]
    noise = rng.standard_normal(NOISE_VALUES + values if config.noise else 1, np.float32)
    noise *= np.float32(config.noise)
    places = rng.integers(0, max(1, len(noise) - values), count)
    changed = np.empty_like(series)
    _change(series, changes, noise, places, changed)
    return changed.reshape(windows.shape)


@njit(cache=True, nogil=True, boundscheck=False)
def _change(windows: Array, changes: Array, noise: Array, places: Array, changed: Array) -> None:
    count, length, channels = windows.shape
    is_noisy = len(noise) > 1
    for n in range(count):
        shift, stretch, gain = changes[n]
        is_moved = shift != 0 or stretch != 1
        for i in range(length):
            below, share = i, np.float32(0)
            if is_moved:
                place = min(max(i * stretch + shift, np.float32(0)), length - 1)
                below = int(place)
                share = np.float32(place - below)
            above = min(below + 1, length - 1)
            for c in range(channels):
                value = windows[n, below, c]
                value += share * (windows[n, above, c] - value)
                value *= gain
                if is_noisy:
                    value += noise[places[n] + i * channels + c]
                changed[n, i, c] = value
