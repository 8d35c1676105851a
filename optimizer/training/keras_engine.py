"""A Keras classifier as a training sees it; one pass is one compiled function.

On nets this small, Keras' `fit` spends most of its time between steps: 5 to 10 times slower.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headtail.tensor import Array
from headtail.wire import STORED_RANGES
from optimizer.fake_wire import FakeWire
from optimizer.keras_onnx import before_softmax

PREDICT_BATCH = 1024


def make_deterministic(seed: int) -> None:
    """Make Keras and TensorFlow of this process give the same numbers for the same seed."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def predict(model: keras.Model, x: Array) -> Array:
    """Return the model's outputs for `x`, shape (N, ...), float32."""
    parts = [
        np.asarray(model(x[i : i + PREDICT_BATCH], training=False))
        for i in range(0, len(x), PREDICT_BATCH)
    ]
    return np.concatenate(parts)


class KerasEngine:
    """A built model that ends in a softmax over the classes; satisfies `training.Engine`."""

    def __init__(self, model: keras.Model, *, is_fused: bool = True) -> None:
        """Take the model; it is trained in place.

        Args:
            model: Built, ending in a softmax.
            is_fused: Whether XLA compiles the pass. Its results do not depend on the number of
                threads, and small networks gain; on wide ones it is 5 to 10 times slower.
        """
        self._is_fused = is_fused
        self._model = before_softmax(model)
        self.classes = int(model.outputs[0].shape[-1])
        self._optimizer = keras.optimizers.Adam(0.0)
        self._optimizer.build(self._model.trainable_variables)
        self._passes: dict[int | None, Callable[..., Any]] = {}

    def run_pass(
        self,
        windows: Array,
        targets: Array,
        weights: Array,
        order: Array,
        rates: Array,
        wire: FakeWire | None,
    ) -> float:
        """Train for one pass; return the mean of the steps' losses."""
        point = None if wire is None else wire.point
        if point not in self._passes:
            self._passes[point] = self._compile(point)
        given = (windows, targets, weights, order.astype(np.int32), rates.astype(np.float32))
        total = self._passes[point](*map(tf.constant, given), *_numbers(wire))
        return float(total) / len(order)

    def logits(self, x: Array, wire: FakeWire | None = None) -> Array:
        """Return what goes into the softmax, float32, shape (N, classes)."""
        if wire is None:
            return predict(self._model, x)
        head, tail = self._halves(wire.point)
        return predict(tail, np.asarray(_quantise(predict(head, x), *_numbers(wire))))

    def activations(self, x: Array, point: int) -> Array:
        """Return what leaves the first `point` layers with weights, float32, shape (N, values)."""
        return predict(self._halves(point)[0], x).reshape(len(x), -1)

    def get_weights(self) -> list[Array]:
        """Return the weights as Keras does."""
        weights: list[Array] = self._model.get_weights()
        return weights

    def set_weights(self, weights: list[Array]) -> None:
        """Replace all weights."""
        self._model.set_weights(weights)

    def _halves(self, point: int) -> tuple[keras.Model, keras.Model]:
        """Return the model cut behind the activation of the first `point` layers with weights."""
        layers = self._model.layers
        weighted = [i for i, layer in enumerate(layers) if layer.weights]
        # Each is followed by what belongs to it: its activation.
        end = layers[0] if point == 0 else layers[weighted[point - 1] + 1]
        head = keras.Model(self._model.inputs[0], end.output)
        return head, keras.Model(end.output, self._model.outputs[0])

    def _compile(self, point: int | None) -> Callable[..., Any]:
        """Return a function that trains for one pass with the wire behind `point` layers."""
        optimizer, variables = self._optimizer, self._model.trainable_variables
        halves = None if point is None else self._halves(point)

        def run(x: Any, numbers: tuple[Any, ...]) -> Any:
            if halves is None:
                return self._model(x, training=True)
            values = halves[0](x, training=True)
            # The gradient is that of the values as they were.
            change = tf.stop_gradient(_quantise(values, *numbers) - values)
            return halves[1](values + change, training=True)

        def run_pass(
            x: Any, targets: Any, weights: Any, order: Any, rates: Any, *numbers: Any
        ) -> Any:
            total = tf.constant(0.0)
            for i in tf.range(tf.shape(order)[0]):
                chosen = order[i]
                with tf.GradientTape() as tape:
                    losses = tf.nn.softmax_cross_entropy_with_logits(
                        tf.gather(targets, chosen), run(tf.gather(x, chosen), numbers)
                    )
                    loss = tf.reduce_mean(losses * tf.gather(weights, chosen))
                gradients = tape.gradient(loss, variables)
                optimizer.learning_rate.assign(rates[i])
                optimizer.apply_gradients(zip(gradients, variables, strict=True))
                total += loss
            return total

        compiled: Callable[..., Any] = tf.function(run_pass, jit_compile=self._is_fused)
        return compiled


def _numbers(wire: FakeWire | None) -> tuple[Any, ...]:
    """Return scale, zero point, lowest and highest stored value."""
    if wire is None:
        return ()
    numbers = wire.affine.scale, wire.affine.zero_point, *STORED_RANGES[wire.encoding]
    return tuple(tf.constant(n, tf.float32) for n in numbers)


def _quantise(values: Any, scale: Any, zero: Any, low: Any, high: Any) -> Any:
    stored = tf.clip_by_value(tf.round(values / scale) + zero, low, high)
    return (stored - zero) * scale
