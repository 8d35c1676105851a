"""Window steps for images: resize, layout. Arrays are (height, width, channels) until `layout`."""

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import numpy as np

from headtail.errors import ShapeMismatch
from headtail.preprocess.step import Parameters, Signal
from headtail.tensor import Array

Side = Annotated[int, msgspec.Meta(ge=1, le=8192)]


class Resize(Parameters, frozen=True):
    """Bring an image to `height` x `width`, smoothing when it shrinks."""

    height: Side
    width: Side
    method: Literal["bilinear", "nearest"] = "bilinear"

    def apply(self, window: Array) -> Array:
        """Return the resized image, shape (height, width, ...).

        Raises:
            ShapeMismatch: If the window is not of rank 2 or 3.
        """
        if window.ndim not in (2, 3):
            raise ShapeMismatch("preprocess step 'resize'", (-1, -1, -1), window.shape)
        have = window.shape[:2]
        if have == (self.height, self.width):
            return window
        if self.method == "nearest":
            rows, columns = _nearest(have[0], self.height), _nearest(have[1], self.width)
            return window[rows][:, columns]
        across = np.tensordot(_triangle(have[0], self.height), window, axes=(1, 0))
        down = np.tensordot(_triangle(have[1], self.width), across, axes=(1, 1))
        return np.moveaxis(down, 0, 1)


class Layout(Parameters, frozen=True):
    """Order of an image's axes for the model: `chw` (PyTorch) or `hwc` (Keras, no change)."""

    order: Literal["chw", "hwc"]

    def apply(self, window: Array) -> Array:
        """Return the image with its axes in the model's order; grey images get a channel axis.

        Raises:
            ShapeMismatch: If the window is not of rank 2 or 3.
        """
        if window.ndim not in (2, 3):
            raise ShapeMismatch("preprocess step 'layout'", (-1, -1, -1), window.shape)
        image = window[:, :, None] if window.ndim == 2 else window
        return np.moveaxis(image, 2, 0) if self.order == "chw" else image


def _nearest(have: int, want: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return ((2 * np.arange(want) + 1) * have // (2 * want)).astype(np.int64)


@lru_cache(maxsize=32)
def _triangle(have: int, want: int) -> Signal:
    """Return the weights of a triangle filter over pixel centres, shape (want, have).

    Its half width is one source pixel when growing and one target pixel when shrinking, as in
    Pillow's BILINEAR: Heckbert, Fundamentals of Texture Mapping and Image Warping, 1989.
    """
    scale = have / want
    centre = (np.arange(want) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(have) - centre[:, None]) / max(scale, 1.0)
    weights = np.maximum(1.0 - distance, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)
