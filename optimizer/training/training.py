"""What every training has in common, whatever computes it: order, balance, rate, best epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from headtail.errors import ConfigError, DataError
from headtail.tensor import Array
from headtail.wire import STORED_RANGES, Encoding
from optimizer.calibration import fit_affine
from optimizer.fake_wire import FakeWire
from optimizer.labelled import Labelled
from optimizer.recipe.recipe import TrainConfig
from optimizer.scores import Scores, score
from optimizer.training.augment import augment
from optimizer.training.steps import class_weights, draw_steps, learning_rates

Teacher = Callable[[Array], Array]
"""Says the share of each class for windows: float32, (N, length, channels) to (N, classes)."""


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one pass gave, on the training loss and on the validation split."""

    epoch: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    validation_macro_f1: float


@dataclass(frozen=True, slots=True)
class Wire:
    """The wire that a network is trained for."""

    point: int
    """Layers with weights ahead of it."""
    encoding: Encoding
    calibration: Array
    """Training windows on which the range is found anew for every pass, as the model takes them."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a network learns from."""

    training: Labelled
    """What the weights are fitted to."""
    validation: Labelled
    """What chooses the epoch."""
    teacher: Teacher | None = None
    """Asked about the windows of every pass, as they were changed for it."""
    wire: Wire | None = None
    """Where the network will be cut, and how the map there will travel."""


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training went; the network itself was left with the weights of its best epoch."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    validation: Scores
    wire: FakeWire | None
    """The wire with the range that these weights give the map; None where none was asked for."""


class Engine(Protocol):
    """What holds a network's weights and can change them."""

    classes: int

    def run_pass(
        self,
        windows: Array,
        targets: Array,
        weights: Array,
        order: Array,
        rates: Array,
        wire: FakeWire | None,
    ) -> float:
        """Train for one pass by Adam; return the mean of the steps' losses.

        Args:
            windows: What the network takes, float32, shape (N, ...).
            targets: Share of each class, float32, shape (N, classes).
            weights: Of each window in the loss, float32, shape (N,).
            order: Windows of each step, int64, shape (steps, batch).
            rates: Learning rate of each step, float64, shape (steps,).
            wire: What is quantised on the way.
        """

    def logits(self, x: Array, wire: FakeWire | None = None) -> Array:
        """Return what goes into the softmax, float32, shape (N, classes)."""

    def activations(self, x: Array, point: int) -> Array:
        """Return what leaves the first `point` layers with weights, float32, shape (N, values)."""

    def get_weights(self) -> list[Array]:
        """Return the weights as `set_weights` takes them."""

    def set_weights(self, weights: list[Array]) -> None:
        """Replace all weights."""


def run_training(
    engine: Engine,
    lessons: Lessons,
    config: TrainConfig,
    rng: np.random.Generator,
    on_epoch: Callable[[Epoch], None],
) -> Trained:
    """Train, and leave the engine with the weights of the best epoch.

    The first of equally good epochs counts.

    Args:
        engine: The network with its first weights.
        lessons: What to learn from.
        config: How.
        rng: Draws the order, the balance and the augmentation.
        on_epoch: Told after every pass.

    Raises:
        ConfigError: If the loss is no longer finite.
        DataError: If a split is empty.
    """
    training, validation = lessons.training, lessons.validation
    check_splits(training.y, validation.y)
    steps = len(training.y) // min(config.batch, len(training.y))
    rates = learning_rates(config, steps)
    weights = class_weights(training.y, engine.classes, config.balance)[training.y]
    labels = np.eye(engine.classes, dtype=np.float32)[training.y]
    history: list[Epoch] = []
    best: tuple[float, int, list[Array], Scores] | None = None
    for number in range(1, config.epochs + 1):
        order = draw_steps(training.y, config.batch, config.balance, rng)
        windows = augment(training.x, config.augment, rng)
        targets = _targets(labels, windows, lessons.teacher, config)
        fake = calibrate_wire(engine, lessons.wire)
        these = rates[(number - 1) * steps : number * steps]
        loss = engine.run_pass(windows, targets, weights, order, these, fake)
        check_loss(loss, number, "[train]", config.learning_rate)
        logits = engine.logits(validation.x, fake)
        epoch, scores = summarise(logits, validation.y, number, loss)
        history.append(epoch)
        on_epoch(epoch)
        value = merit(epoch, config.select)
        if best is None or value > best[0]:
            best = (value, number, engine.get_weights(), scores)
    assert best is not None, "at least one epoch ran"
    engine.set_weights(best[2])
    return Trained(tuple(history), best[1], best[3], calibrate_wire(engine, lessons.wire))


def calibrate_wire(engine: Engine, wire: Wire | None) -> FakeWire | None:
    """Return the wire with the range that the map has with the weights as they are."""
    if wire is None or wire.encoding not in STORED_RANGES:
        return None
    values = engine.activations(wire.calibration, wire.point)
    return FakeWire(wire.point, fit_affine(values, wire.encoding), wire.encoding)


def softmax(logits: Array) -> Array:
    """Return class shares, float32, shape as given."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _targets(labels: Array, windows: Array, teacher: Teacher | None, config: TrainConfig) -> Array:
    """Return what is aimed at: the labels' shares, mixed with what a teacher says."""
    if teacher is None:
        return labels
    assert config.teacher is not None, "somebody teaches"
    share = np.float32(config.teacher.share)
    return (1 - share) * labels + share * teacher(windows)


def summarise(logits: Array, labels: Array, number: int, loss: float) -> tuple[Epoch, Scores]:
    """Return what a pass gave on the validation split.

    Args:
        logits: Of the validation windows, what goes into the softmax, shape (N, classes).
        labels: Their classes, shape (N,).
        number: Of the pass, from 1.
        loss: Mean training loss of its steps.
    """
    scores = score(labels, logits.argmax(axis=1), logits.shape[1])
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(logits)), labels]
    mean = float(losses.mean())
    return Epoch(number, loss, mean, scores.accuracy, scores.macro_f1), scores


def merit(epoch: Epoch, select: str) -> float:
    """Return what an epoch is chosen by; the first of equally good ones is kept."""
    merits = {
        "accuracy": epoch.validation_accuracy,
        "macro_f1": epoch.validation_macro_f1,
        "loss": -epoch.validation_loss,
        "last": float(epoch.epoch),
    }
    return merits[select]


def check_splits(training: Array, validation: Array) -> None:
    """Check, given their labels, that there is something to learn from and to choose by.

    Raises:
        DataError: If a split is empty.
    """
    for name, labels in (("training", training), ("validation", validation)):
        if len(labels) == 0:
            raise DataError(f"{name} split", "expected windows to train with, received none")


def check_loss(loss: float, epoch: int, section: str, learning_rate: float) -> None:
    """Say what to change where the loss of a pass is no longer finite.

    Raises:
        ConfigError: If it is not.
    """
    if not np.isfinite(loss):
        raise ConfigError(
            section,
            f"the loss is {loss} in epoch {epoch}; lower learning_rate ({learning_rate:g})",
        )
