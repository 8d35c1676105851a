"""One optimiser step of an image classifier, compiled once."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headtail.errors import ConfigError
from headtail.tensor import Array
from optimizer.images.augment import augment
from optimizer.images.config import ImageTrainConfig
from optimizer.images.evaluate import as_pixels

_NOT_DECAYED = ["bias", "gamma", "beta"]


@dataclass(frozen=True, slots=True)
class Teacher:
    """A network that is asked what each image is, changed as it is for the step.

    Source: Hinton et al., arXiv:1503.02531, at temperature 1.
    """

    logits: keras.Model
    """Ends before its softmax; runs in inference mode."""
    share: float
    """Weight of what it says against that of the label, 0 to 1."""


class Stepper:
    """A model that ends before its softmax, with Adam and what the steps draw."""

    def __init__(
        self, model: keras.Model, config: ImageTrainConfig, teacher: Teacher | None = None
    ) -> None:
        """Take the model; what is trainable in it now is trained in place.

        Raises:
            ConfigError: If nothing is.
        """
        self._model, self._config, self._teacher = model, config, teacher
        self._variables = list(model.trainable_variables)
        if not self._variables:
            raise ConfigError("[train]", "expected a layer to train, but all are frozen")
        if config.weight_decay:
            self._optimizer = keras.optimizers.AdamW(0.0, weight_decay=config.weight_decay)
            self._optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
        else:
            self._optimizer = keras.optimizers.Adam(0.0)
        self._optimizer.build(self._variables)
        self._step = tf.function(self._run)

    def step(self, x: Array, y: Array, weights: Array, rate: float, seed: tuple[int, int]) -> float:
        """Change the weights once; return the loss.

        Args:
            x: uint8 images, or float32 in [0, 1], shape (N, H, W, 3).
            y: Class numbers, shape (N,).
            weights: Of each image in the loss, shape (N,), float32.
            rate: Learning rate.
            seed: Draws the augmentation.
        """
        pair = np.array(seed, np.uint64).astype(np.uint32).view(np.int32)
        given = (x, y, np.asarray(weights, np.float32), np.float32(rate), pair)
        return float(self._step(*map(tf.constant, given)))

    def get_state(self) -> list[Array]:
        """Return all variables of model, optimiser and random layers."""
        return [np.asarray(v.value) for v in self._all()]

    def set_state(self, values: list[Array]) -> None:
        """Replace all variables."""
        for variable, value in zip(self._all(), values, strict=True):
            variable.assign(value)

    def _all(self) -> list[Any]:
        return [*self._model.variables, *self._optimizer.variables]

    def _run(self, x: Any, y: Any, weights: Any, rate: Any, seed: Any) -> Any:
        images = augment(as_pixels(x), self._config.augment, seed)
        classes, smoothing = self._model.outputs[0].shape[-1], self._config.label_smoothing
        targets = tf.one_hot(y, classes) * (1 - smoothing) + smoothing / classes
        if self._teacher is not None:
            said = tf.nn.softmax(self._teacher.logits(images, training=False))
            targets += self._teacher.share * (said - targets)
        with tf.GradientTape() as tape:
            logits = self._model(images, training=True)
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses * weights) + sum(self._model.losses)
        gradients = tape.gradient(loss, self._variables)
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        return loss
