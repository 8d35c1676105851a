"""Training one Keras classifier, the same weights for the same seed and data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf

from headtail.errors import ConfigError, DataError
from headtail.tensor import Array
from optimizer.keras_onnx import before_softmax
from optimizer.labelled import Labelled
from optimizer.recipe import AugmentConfig, TrainConfig
from optimizer.scores import Scores, score

PREDICT_BATCH = 1024


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one pass gave, on the training loss and on the validation split."""

    epoch: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    validation_macro_f1: float


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training went; the model itself was changed in place to its best epoch."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    validation: Scores


def make_deterministic(seed: int) -> None:
    """Make Keras and TensorFlow of this process give the same numbers for the same seed."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def train(
    model: keras.Model,
    training: Labelled,
    validation: Labelled,
    config: TrainConfig,
    rng: np.random.Generator,
    on_epoch: Callable[[Epoch], None],
) -> Trained:
    """Train `model` in place and leave it with the weights of its best epoch.

    The first of equally good epochs counts. The whole pass is one compiled TensorFlow function:
    on nets this small, Keras' `fit` spends most of its time between steps (5 to 10 times slower).

    Args:
        model: Built, ending in a softmax over the classes.
        training: What the weights are fitted to.
        validation: What chooses the epoch.
        config: How.
        rng: Draws the order, the balance and the augmentation.
        on_epoch: Told after every pass.

    Raises:
        ConfigError: If the loss is no longer finite.
        DataError: If a split is empty.
    """
    _check_splits(training, validation)
    classes = int(model.outputs[0].shape[-1])
    batch = min(config.batch, len(training.y))
    steps = len(training.y) // batch
    logits = before_softmax(model)
    run_pass = _compile_pass(logits, training.y, config, steps * config.epochs)
    weights = tf.constant(_class_weights(training.y, classes, config.balance))
    history: list[Epoch] = []
    best: tuple[float, int, list[Array], Scores] | None = None
    for number in range(1, config.epochs + 1):
        order = _order(training.y, config.balance, rng)[: steps * batch].reshape(steps, batch)
        windows = tf.constant(augment(training.x, config.augment, rng))
        loss = float(run_pass(windows, tf.constant(order, tf.int32), weights)) / steps
        _check_loss(loss, number, config)
        epoch, scores = _evaluate(logits, validation, number, loss)
        history.append(epoch)
        on_epoch(epoch)
        merit = _merit(epoch, config.select)
        if best is None or merit > best[0]:
            best = (merit, number, model.get_weights(), scores)
    assert best is not None, "at least one epoch ran"
    model.set_weights(best[2])
    return Trained(tuple(history), best[1], best[3])


def predict(model: keras.Model, x: Array) -> Array:
    """Return the model's outputs for `x`, shape (N, ...), float32."""
    parts = [
        np.asarray(model(x[i : i + PREDICT_BATCH], training=False))
        for i in range(0, len(x), PREDICT_BATCH)
    ]
    return np.concatenate(parts)


def _check_splits(training: Labelled, validation: Labelled) -> None:
    for name, part in (("training", training), ("validation", validation)):
        if len(part.y) == 0:
            raise DataError(f"{name} split", "expected windows to train with, received none")


def _check_loss(loss: float, epoch: int, config: TrainConfig) -> None:
    if not np.isfinite(loss):
        raise ConfigError(
            "[train]",
            f"the loss is {loss} in epoch {epoch}; lower learning_rate ({config.learning_rate:g})",
        )


def _evaluate(
    logits: keras.Model, validation: Labelled, number: int, loss: float
) -> tuple[Epoch, Scores]:
    outputs = predict(logits, validation.x)
    scores = score(validation.y, outputs.argmax(axis=1), outputs.shape[1])
    validation_loss = _cross_entropy(outputs, validation.y)
    return Epoch(number, loss, validation_loss, scores.accuracy, scores.macro_f1), scores


def _compile_pass(
    logits: keras.Model, labels: Array, config: TrainConfig, total_steps: int
) -> Callable[..., Any]:
    """Return a function of (windows, order, class weights) that trains for one pass.

    Compiled by XLA, whose results do not depend on the number of threads.
    """
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, total_steps)
    optimizer = keras.optimizers.Adam(rate)
    variables = logits.trainable_variables
    optimizer.build(variables)
    y = tf.constant(labels, tf.int32)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def run_pass(x: Any, order: Any, weights: Any) -> Any:
        total = tf.constant(0.0)
        for i in tf.range(tf.shape(order)[0]):
            chosen = order[i]
            classes = tf.gather(y, chosen)
            with tf.GradientTape() as tape:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    classes, logits(tf.gather(x, chosen), training=True)
                )
                loss = tf.reduce_mean(losses * tf.gather(weights, classes))
            gradients = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            total += loss
        return total

    return run_pass  # type: ignore[no-any-return]


def augment(windows: Array, config: AugmentConfig, rng: np.random.Generator) -> Array:
    """Return windows changed a little each, shape (N, L, ...) as given; itself where all is off."""
    count, length = windows.shape[:2]
    one_each = (count,) + (1,) * (windows.ndim - 1)
    if config.shift:
        moves = rng.integers(-config.shift, config.shift + 1, size=(count, 1))
        places = np.clip(np.arange(length) + moves, 0, length - 1)
        windows = np.take_along_axis(windows, places.reshape(count, length, *one_each[2:]), axis=1)
    if config.gain:
        windows = windows * rng.uniform(1 - config.gain, 1 + config.gain, one_each).astype("f4")
    if config.noise:
        noise = rng.standard_normal(windows.shape, np.float32)
        windows = windows + np.float32(config.noise) * noise
    return windows


def _order(labels: Array, balance: str, rng: np.random.Generator) -> Array:
    """Return the windows of one pass in random order, shape (N,)."""
    if balance != "sample":
        return rng.permutation(len(labels))
    present = np.unique(labels)
    share = -(-len(labels) // len(present))
    chosen = [_draw(np.flatnonzero(labels == c), share, rng) for c in present]
    return rng.permutation(np.concatenate(chosen))[: len(labels)]


def _draw(indices: Array, count: int, rng: np.random.Generator) -> Array:
    """Return `count` of `indices`: each as often as any other, give or take one."""
    whole = np.tile(indices, count // len(indices))
    return np.concatenate([whole, rng.choice(indices, count % len(indices), replace=False)])


def _class_weights(labels: Array, classes: int, balance: str) -> Array:
    """Return one weight per class, shape (classes,), whose mean over the windows is 1."""
    if balance != "weight":
        return np.ones(classes, np.float32)
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)


def _cross_entropy(logits: Array, labels: Array) -> float:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return float(losses.mean())


def _merit(epoch: Epoch, select: str) -> float:
    if select == "loss":
        return -epoch.validation_loss
    return epoch.validation_accuracy if select == "accuracy" else epoch.validation_macro_f1
