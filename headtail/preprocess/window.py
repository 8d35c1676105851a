"""Window steps for signals: pad, interpolate, minmax, scale, reshape."""

import math
from typing import Annotated

import msgspec
import numpy as np

from headtail.errors import ShapeMismatch
from headtail.preprocess.step import Parameters
from headtail.tensor import Array

MAX_LENGTH = 1 << 20
FLAT = 1e-6
"""A standard deviation under this share of the largest value is float32's rounding."""
Length = Annotated[int, msgspec.Meta(ge=1, le=MAX_LENGTH)]
Finite = Annotated[float, msgspec.Meta(ge=-1e30, le=1e30)]


class Pad(Parameters, frozen=True):
    """Append `value` along the first axis up to `length`, or to the next multiple of `multiple`."""

    length: Length | None = None
    multiple: Length | None = None
    value: Finite = 0.0

    def __post_init__(self) -> None:
        if (self.length is None) == (self.multiple is None):
            raise ValueError("expected exactly one of `length` and `multiple`")

    def apply(self, window: Array) -> Array:
        """Return the padded window.

        Raises:
            ShapeMismatch: If the window is longer than `length`.
        """
        have = window.shape[0]
        want = self.length or -(-have // (self.multiple or 1)) * (self.multiple or 1)
        if have > want:
            raise ShapeMismatch("preprocess step 'pad'", (want, *window.shape[1:]), window.shape)
        after = [(0, want - have)] + [(0, 0)] * (window.ndim - 1)
        return np.pad(window, after, constant_values=self.value)


class Interpolate(Parameters, frozen=True):
    """Stretch or shrink the first axis to `length` values, linearly, first and last value kept.

    Source: the paper feeds its networks 187-sample beats up-sampled to 2048.
    """

    length: Length

    def apply(self, window: Array) -> Array:
        """Return the window at its new length."""
        have = window.shape[0]
        place = np.linspace(0, have - 1, self.length)
        left = np.minimum(place.astype(np.int64), max(have - 2, 0))
        weight = (place - left).reshape(-1, *[1] * (window.ndim - 1))
        right = np.minimum(left + 1, have - 1)
        return np.asarray(window[left] * (1 - weight) + window[right] * weight)


class MinMax(Parameters, frozen=True):
    """Scale the window's own range to [0, 1]; a constant window becomes zeros."""

    def apply(self, window: Array) -> Array:
        """Return the scaled window."""
        low, high = window.min(), window.max()
        return (window - low) / (high - low) if high > low else np.zeros_like(window)


class Standardise(Parameters, frozen=True):
    """Give each channel of the window mean 0 and standard deviation 1; a constant one gets zeros.

    The channel is the last axis of a window of two or more; a window of one axis is one channel.
    """

    def apply(self, window: Array) -> Array:
        """Return the standardised window."""
        axes = tuple(range(max(1, window.ndim - 1)))
        # In float64: a channel far from zero would lose its digits.
        values = window.astype(np.float64)
        values -= values.mean(axis=axes, keepdims=True)
        deviation = values.std(axis=axes, keepdims=True)
        is_flat = deviation <= FLAT * np.abs(window).max(axis=axes, keepdims=True)
        return np.asarray(np.where(is_flat, 0.0, values / np.where(is_flat, 1.0, deviation)))


class Concatenate(Parameters, frozen=True):
    """Lay the channels of a window end to end: (length, channels) becomes (length x channels,)."""

    def apply(self, window: Array) -> Array:
        """Return the window with one axis.

        Raises:
            ShapeMismatch: If it has not two axes.
        """
        if window.ndim != 2:
            raise ShapeMismatch("preprocess step 'concatenate'", (-1, -1), window.shape)
        return np.ascontiguousarray(window.T).reshape(-1)


class Scale(Parameters, frozen=True):
    """Multiply by `gain`, then add `offset`; a list holds one value per entry of the last axis."""

    gain: Finite | tuple[Finite, ...] = 1.0
    offset: Finite | tuple[Finite, ...] = 0.0

    def apply(self, window: Array) -> Array:
        """Return the scaled window.

        Raises:
            ShapeMismatch: If a list is not as long as the last axis.
        """
        for values in (self.gain, self.offset):
            if isinstance(values, tuple) and len(values) != window.shape[-1]:
                expected = (*window.shape[:-1], len(values))
                raise ShapeMismatch("preprocess step 'scale'", expected, window.shape)
        return np.asarray(window * np.asarray(self.gain) + np.asarray(self.offset))


class Reshape(Parameters, frozen=True):
    """Give the window another shape with as many values: [187, 1] adds a channel axis."""

    shape: Annotated[tuple[Length, ...], msgspec.Meta(min_length=1, max_length=8)]

    def apply(self, window: Array) -> Array:
        """Return the window in its new shape.

        Raises:
            ShapeMismatch: If the number of values differs.
        """
        if window.size != math.prod(self.shape):
            raise ShapeMismatch("preprocess step 'reshape'", self.shape, window.shape)
        return window.reshape(self.shape)
