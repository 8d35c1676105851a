"""Changes of training images, inside the training step and outside of the exported model."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from headtail.tensor import Array
from optimizer.images.config import ImageAugmentConfig

COPIED = 256


def augment(images: Any, config: ImageAugmentConfig, seed: Any) -> Any:
    """Return the images mirrored, turned and moved at random, each on its own.

    Args:
        images: Tensor of shape (N, H, W, C), float32.
        config: What to change, and how far.
        seed: int32 tensor of shape (2,); the same gives the same changes.
    """
    seeds = tf.random.split(seed, 5)
    if config.flip != "none":
        images = _mirrored(images, 2, seeds[0])
    if config.flip == "both":
        images = _mirrored(images, 1, seeds[1])
    if not config.rotation_degrees and not config.shift:
        return images
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    most = math.radians(config.rotation_degrees)
    angles = tf.random.stateless_uniform([count], seeds[2], -most, most)
    down = tf.random.stateless_uniform([count], seeds[3], -1.0, 1.0) * (config.shift * height)
    right = tf.random.stateless_uniform([count], seeds[4], -1.0, 1.0) * (config.shift * width)
    return move(images, angles, down, right)


def copier(config: ImageAugmentConfig) -> Callable[[Array, np.random.Generator], Array] | None:
    """Return what makes an augmented copy of uint8 images; None where nothing is changed."""
    if config == ImageAugmentConfig(flip="none"):
        return None

    def copy(images: Array, rng: np.random.Generator) -> Array:
        changed = np.empty_like(images)
        for i in range(0, len(images), COPIED):
            seed = rng.integers(0, 2**31, 2, np.int32)
            batch = tf.constant(images[i : i + COPIED], tf.float32)
            changed[i : i + COPIED] = np.rint(augment(batch, config, seed)).astype(images.dtype)
        return changed

    return copy


def move(images: Any, angles: Any, down: Any, right: Any) -> Any:
    """Return images turned about their centre, then moved; edge pixels are repeated.

    Args:
        images: Shape (N, H, W, C), float32.
        angles: Counter-clockwise in radians, shape (N,).
        down: Pixels, shape (N,).
        right: Pixels, shape (N,).
    """
    height, width = images.shape[1], images.shape[2]
    y, x = (height - 1) / 2, (width - 1) / 2
    cosine, sine = tf.cos(angles), tf.sin(angles)
    # A row maps places in the result to places in the image: moved back, then turned back.
    left, up = -right - x, -down - y
    zeros = tf.zeros_like(angles)
    rows = [
        cosine,
        -sine,
        cosine * left - sine * up + x,
        sine,
        cosine,
        sine * left + cosine * up + y,
        zeros,
        zeros,
    ]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(rows, axis=1),
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _mirrored(images: Any, axis: int, seed: Any) -> Any:
    is_turned = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed) < 0.5
    return tf.where(is_turned, tf.reverse(images, [axis]), images)
