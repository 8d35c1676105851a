"""What an image classifier says of images, and how often that is right."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headtail.tensor import Array
from optimizer.data.dataset import Split
from optimizer.keras_onnx import before_softmax
from optimizer.scores import Scores, score

BATCH = 128


def as_pixels(images: Any) -> Any:
    """Return images as the model takes them: bytes become float32 in [0, 1]."""
    values = tf.cast(images, tf.float32)
    return values / 255.0 if images.dtype == tf.uint8 else values


class Evaluator:
    """Runs a model in inference mode, batch by batch; compiled once."""

    def __init__(self, model: keras.Model) -> None:
        """Take a model that ends before the softmax; later changes of its weights count."""

        @tf.function(reduce_retracing=True)
        def run(images: Any) -> Any:
            return model(as_pixels(images), training=False)

        self._run = run

    def logits(self, images: Array) -> Array:
        """Return the model's outputs, float32, shape (N, classes).

        Args:
            images: uint8 from 0 to 255, or float32 in [0, 1], shape (N, H, W, 3).
        """
        parts = [
            np.asarray(self._run(tf.constant(images[i : i + BATCH])))
            for i in range(0, len(images), BATCH)
        ]
        return np.concatenate(parts)


def evaluate(model: keras.Model, split: Split) -> Scores:
    """Return confusion matrix, accuracy, macro-F1, per-class precision and recall on a split."""
    logits = Evaluator(before_softmax(model)).logits(split.x)
    return score(split.y, logits.argmax(axis=1), logits.shape[1])
