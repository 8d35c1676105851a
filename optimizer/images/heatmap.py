"""Where a classifier looks: Grad-CAM of a class over the pixels of an image."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headtail.errors import PruningError
from headtail.tensor import Array
from optimizer.images.evaluate import as_pixels
from optimizer.keras_onnx import before_softmax

MAP_RANK = 4


def class_heatmaps(model: keras.Model, images: Array, classes: Array) -> Array:
    """Return what of each image speaks for a class, from the last feature maps.

    The weight of channel c is the mean gradient of the class score over positions; the map is
    ReLU(sum over channels of weight x activation), brought to the image's size.

    Args:
        model: A classifier, with or without a softmax at its end.
        images: uint8, shape (N, H, W, 3).
        classes: The class asked about of each image, shape (N,).

    Returns:
        float32, shape (N, H, W), each map from 0 to 1; all zero where nothing speaks for it.

    Raises:
        PruningError: If the model has no feature maps.

    Source: Selvaraju et al., Grad-CAM, arXiv:1610.02391, eqs. 1 and 2.
    """
    linear = before_softmax(model)
    watched = keras.Model(linear.inputs, [_last_maps(linear), linear.outputs[0]])
    pixels = as_pixels(tf.constant(images))
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        maps, scores = watched(pixels, training=False)
        score = tf.reduce_sum(tf.gather(scores, tf.constant(classes, tf.int64), batch_dims=1))
    weights = tf.reduce_mean(tape.gradient(score, maps), [1, 2], keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, -1, keepdims=True))
    found = np.asarray(tf.image.resize(heat, images.shape[1:3])[..., 0])
    largest = found.max(axis=(1, 2), keepdims=True)
    shares: Array = np.divide(found, largest, out=np.zeros_like(found), where=largest > 0)
    return shares


def _last_maps(model: keras.Model) -> Any:
    """Return the last tensor on the way to the output that has several positions."""
    tensor = model.outputs[0]
    while True:
        operation, number, _ = tensor._keras_history
        node = operation._inbound_nodes[number]
        if node.is_input:
            raise PruningError(f"model '{model.name}'", "expected feature maps, received none")
        shape = tensor.shape
        if len(shape) == MAP_RANK and (shape[1] or 0) * (shape[2] or 0) > 1:
            return tensor
        tensor = node.input_tensors[0]
