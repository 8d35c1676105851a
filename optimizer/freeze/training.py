"""Training a network under a freeze mask: only what is not frozen is computed in every pass."""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf

from headtail.errors import ConfigError
from headtail.tensor import Array
from optimizer.freeze.config import FreezeTrainConfig
from optimizer.freeze.frontier import find_frontier
from optimizer.freeze.layers import apply_mask
from optimizer.freeze.mask import FreezeMask
from optimizer.freeze.network import Network
from optimizer.freeze.prefix import CallsLayer, PrefixCache, as_tensor, run_batches
from optimizer.labelled import Labelled
from optimizer.scores import Scores, score
from optimizer.training.steps import class_weights, draw_steps
from optimizer.training.training import check_loss, check_splits

Augment = Callable[[Array, np.random.Generator], Array]
"""Returns windows changed a little each, shape as given."""
EVALUATION_BATCH = 32
MIB = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class FreezeLessons:
    """What individuals learn from, and what they are compared on."""

    training: Labelled
    validation: Labelled
    augment: Augment | None = None
    """What changes the training windows, copy by copy or pass by pass."""


class FreezePass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pass over the training windows."""

    epoch: int
    loss: float
    """Mean over its steps, penalties on trained weights included."""
    seconds: float
    """Measured; the first one builds the graph and, where something is cached, fills the cache."""


@dataclass(frozen=True, slots=True)
class FrozenTraining:
    """How a training under a mask went; the model was left with the weights of the last pass."""

    passes: tuple[FreezePass, ...]
    validation: Scores
    cached_bytes: int
    """Of activations kept for the training windows."""

    @property
    def loss(self) -> float | None:
        """Mean loss of the last pass; None where nothing was trained."""
        return self.passes[-1].loss if self.passes else None


class FrozenTrainer:
    """Trains one network under any freeze mask, each time from the weights that it came with.

    The weights that come out are those of training the whole model with the same mask, windows,
    order and seeds: whatever gives the same in every pass is computed once and kept, which is
    exact without random augmentation. With it, `config.copies` augmented copies are made once and
    taken in turn, cached or not; 0 copies augment anew for every pass, and nothing is kept. Layers
    of the network that draw (Dropout) end what can be kept.
    """

    def __init__(
        self, network: Network, lessons: FreezeLessons, config: FreezeTrainConfig, seed: int
    ) -> None:
        """Take what all trainings have in common.

        Args:
            network: Its model, one input and class shares as output, is trained in place.
            lessons: What to learn from.
            config: How.
            seed: Draws order, balance and augmentation, the same for every mask.

        Raises:
            ConfigError: If the model has several inputs or outputs.
            DataError: If a split is empty.
        """
        _check(network, lessons)
        self.network = network
        self.lessons = lessons
        self.config = config
        self.seed = seed
        self.cache = PrefixCache(config.cache_mib * MIB)

    def train(
        self, mask: FreezeMask, on_pass: Callable[[FreezePass], None] = lambda done: None
    ) -> FrozenTraining:
        """Train the layers of a mask and evaluate; with none trained the network is evaluated only.

        Windows left over after the last whole batch of a pass wait for another.

        Args:
            mask: Which layers are trained.
            on_pass: Told after every pass.

        Raises:
            ConfigError: If the mask does not fit the network, or the loss is no longer finite.
        """
        self.network.restore()
        apply_mask(self.network.model, self.network.layers, mask)
        data = _Data(self, mask)
        passes = []
        if any(mask):
            step = _training_step(data.rest, self.config)
            for epoch in range(1, self.config.epochs + 1):
                began = time.monotonic()
                losses = [float(step(*batch)) for batch in data.batches(epoch)]
                loss = float(np.mean(losses))
                check_loss(loss, epoch, "[freeze.train]", self.config.learning_rate)
                passes.append(FreezePass(epoch, loss, time.monotonic() - began))
                on_pass(passes[-1])
        (shares,) = run_batches(data.rest, data.validation(), EVALUATION_BATCH)
        scores = score(self.lessons.validation.y, shares.argmax(axis=1), shares.shape[-1])
        gc.collect()  # the graphs of this mask: Keras layers and functions hold one another
        return FrozenTraining(tuple(passes), scores, data.cached_bytes)


class _Data:
    """Windows at the frontier of a mask, by pass and batch."""

    def __init__(self, trainer: FrozenTrainer, mask: FreezeMask) -> None:
        network, lessons, config = trainer.network, trainer.lessons, trainer.config
        self._lessons, self._config, self._seed = lessons, config, trainer.seed
        self._calls, self._cache = network.calls, trainer.cache
        self._rng = np.random.default_rng([trainer.seed, 0])
        self._copies = config.copies if lessons.augment else 1
        count = len(lessons.training.y) * self._copies
        # Augmented anew for every pass, nothing is the same in the next.
        most = self._cache.most_bytes / (count + len(lessons.validation.y)) if count else 0
        self._frontier = find_frontier(network.calls, network.traits, mask, most)
        self.cached_bytes = self._frontier.window_bytes * count
        self.rest = CallsLayer(self._frontier.rest, self._frontier.tensors, network.calls.outputs)

    def batches(self, epoch: int) -> Iterator[tuple[Any, ...]]:
        """Yield tensors at the frontier, classes and weights in the loss of each step of a pass."""
        training, balance = self._lessons.training, self._config.balance
        arrays = self._training(epoch)
        classes = self._calls.window_shape(self._calls.outputs[0])[0]
        weights = class_weights(training.y, classes, balance)[training.y]
        for chosen in draw_steps(training.y, self._config.batch, balance, self._rng):
            tensors = [as_tensor(array[chosen]) for array in arrays]
            yield tensors, tf.constant(training.y[chosen]), tf.constant(weights[chosen])

    def validation(self) -> list[Array]:
        """Return the validation windows at the frontier."""
        x = self._lessons.validation.x
        return self._cache.tensors(self._calls, self._frontier, "validation", lambda: x)

    def _training(self, epoch: int) -> list[Array]:
        number = (epoch - 1) % self._copies if self._copies else epoch

        def windows() -> Array:
            x, augment = self._lessons.training.x, self._lessons.augment
            return augment(x, np.random.default_rng([self._seed, 1, number])) if augment else x

        return self._cache.tensors(self._calls, self._frontier, f"training {number}", windows)


def _training_step(rest: CallsLayer, config: FreezeTrainConfig) -> Callable[..., Any]:
    """Return a function that makes one step and returns its loss."""
    variables = rest.trainable_variables
    optimizer = _optimizer(config)
    optimizer.build(variables)

    def step(tensors: Any, classes: Any, weights: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            (shares,) = rest(tensors, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(classes, shares)
            loss = tf.reduce_mean(losses * weights) + sum(rest.losses)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        # A branch may not lead to the output.
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        if pairs:
            optimizer.apply_gradients(pairs)
        return loss

    compiled: Callable[..., Any] = tf.function(step, autograph=False)
    return compiled


def _optimizer(config: FreezeTrainConfig) -> keras.optimizers.Optimizer:
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate)
    momentum = 0.9 if config.optimizer == "momentum" else 0.0
    return keras.optimizers.SGD(config.learning_rate, momentum)


def _check(network: Network, lessons: FreezeLessons) -> None:
    calls = network.calls
    ends = len(calls.inputs), len(calls.outputs), len(calls.window_shape(calls.outputs[0]))
    if ends != (1, 1, 1):
        raise ConfigError(
            f"model '{network.model.name}'",
            f"expected one input and one output of shape (N, classes), received {ends[0]} inputs"
            f" and {ends[1]} outputs, the first of shape {network.model.outputs[0].shape}",
        )
    check_splits(lessons.training.y, lessons.validation.y)
