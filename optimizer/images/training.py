"""Training an image classifier: seeded, resumable, the best epoch chosen on validation images."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np

from headtail.tensor import Array
from optimizer.data.dataset import Split
from optimizer.images.checkpoint import Checkpoint, History, read_checkpoint, write_checkpoint
from optimizer.images.config import ImageTrainConfig
from optimizer.images.evaluate import Evaluator
from optimizer.images.step import Stepper, Teacher
from optimizer.keras_onnx import before_softmax
from optimizer.progress import Advance
from optimizer.scores import Scores
from optimizer.training.steps import class_weights, draw_steps, learning_rates
from optimizer.training.training import Epoch, check_loss, check_splits, merit, summarise


def quiet(done: int, total: int, note: str) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True)
class ImageLessons:
    """What a classifier learns from: uint8 images, or float32 in [0, 1], shape (N, H, W, 3)."""

    training: Split
    """What the weights are fitted to."""
    validation: Split
    """What chooses the epoch."""
    teacher: Teacher | None = None
    """What else it learns from; with none, labels alone."""

    def __post_init__(self) -> None:
        check_splits(self.training.y, self.validation.y)


@dataclass(frozen=True, slots=True)
class ImageTrained:
    """How a training went; the model itself was left with the weights of its best epoch."""

    epochs: tuple[Epoch, ...]
    epoch_s: tuple[float, ...]
    """Measured seconds of each epoch's training steps, validation not counted."""
    best_epoch: int
    validation: Scores


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how a training goes, and where it is kept."""

    advance: Advance = quiet
    """Told after every step: steps done, steps in all, what the last epoch gave."""
    checkpoint: Path | None = None
    """File kept up to date after every epoch; where it is there already, training goes on from it.
    It is left for the caller to remove."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""


@dataclass(slots=True)
class _Course:
    """A training under way."""

    epochs: list[Epoch] = field(default_factory=list)
    epoch_s: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best: list[Array] = field(default_factory=list)
    confusion: Array = field(default_factory=lambda: np.zeros((0, 0), np.int64))


def train(
    model: keras.Model,
    lessons: ImageLessons,
    config: ImageTrainConfig,
    seed: int,
    watch: Watch | None = None,
) -> ImageTrained:
    """Train what is trainable in a classifier, and leave it with the weights of its best epoch.

    Frozen layers stay as they are, their batch normalisations too. The first of equally good
    epochs counts. The same model, data, config and seed give the same weights where
    `keras_engine.make_deterministic` was called before the model was built.

    Args:
        model: Takes float32 pixels in [0, 1], ends in a softmax.
        lessons: What to learn from.
        config: How.
        seed: Draws the order of the images and their augmentation.
        watch: Who is told, and where the training is kept; nobody and nowhere by default.

    Raises:
        ConfigError: If the loss is no longer finite, nothing is trainable, or the checkpoint is
            damaged or of another training.
    """
    watch = watch or Watch()
    logits = before_softmax(model)
    stepper, evaluator = Stepper(logits, config, lessons.teacher), Evaluator(logits)
    key = _key(model, lessons, config, seed) if watch.checkpoint else ""
    course = _resume(watch.checkpoint, key, stepper)
    plan = _Plan(lessons.training, config, seed, classes=int(logits.outputs[0].shape[-1]))
    validation = lessons.validation
    for number in range(len(course.epochs) + 1, config.epochs + 1):
        began = watch.clock()
        loss = _run_epoch(stepper, plan, number, watch.advance, _note(course, config))
        course.epoch_s.append(watch.clock() - began)
        check_loss(loss, number, "[train]", config.learning_rate)
        epoch, scores = summarise(evaluator.logits(validation.x), validation.y, number, loss)
        course.epochs.append(epoch)
        if not course.best_epoch or merit(epoch, config.select) > merit(
            _best(course), config.select
        ):
            course.best_epoch, course.confusion = number, scores.confusion
            course.best = logits.get_weights()
        if watch.checkpoint is not None:
            write_checkpoint(watch.checkpoint, _checkpoint(course, key, stepper))
    logits.set_weights(course.best)
    # Another object only where the model's softmax is the activation of its last layer.
    model.set_weights(logits.get_weights())
    return ImageTrained(
        tuple(course.epochs), tuple(course.epoch_s), course.best_epoch, Scores(course.confusion)
    )


class _Plan:
    """Which images each step sees, with what weights and rate."""

    def __init__(self, training: Split, config: ImageTrainConfig, seed: int, classes: int) -> None:
        self.training, self.seed, self._config = training, seed, config
        self.steps = len(training) // min(config.batch, len(training))
        self.total = self.steps * config.epochs
        self.rates = learning_rates(config, self.steps)
        self.weights = class_weights(training.y, classes, config.balance)[training.y]

    def order(self, number: int) -> Array:
        """Return the images of each step of an epoch, shape (steps, batch)."""
        rng = np.random.default_rng([self.seed, number])
        return draw_steps(self.training.y, self._config.batch, self._config.balance, rng)


def _run_epoch(stepper: Stepper, plan: _Plan, number: int, advance: Advance, note: str) -> float:
    """Train for one epoch; return the mean loss of its steps."""
    total, x, y = 0.0, plan.training.x, plan.training.y
    for step, chosen in enumerate(plan.order(number), start=(number - 1) * plan.steps):
        seed = plan.seed, step
        total += stepper.step(x[chosen], y[chosen], plan.weights[chosen], plan.rates[step], seed)
        advance(step + 1, plan.total, note)
    return total / plan.steps


def _best(course: _Course) -> Epoch:
    return course.epochs[course.best_epoch - 1]


def _checkpoint(course: _Course, key: str, stepper: Stepper) -> Checkpoint:
    history = History(key, tuple(course.epochs), tuple(course.epoch_s), course.best_epoch)
    return Checkpoint(history, course.confusion, stepper.get_state(), course.best)


def _resume(path: Path | None, key: str, stepper: Stepper) -> _Course:
    found = read_checkpoint(path, key) if path is not None else None
    if found is None:
        return _Course()
    stepper.set_state(list(found.state))
    history = found.history
    return _Course(
        list(history.epochs),
        list(history.epoch_s),
        history.best_epoch,
        list(found.best),
        found.confusion,
    )


def _key(model: keras.Model, lessons: ImageLessons, config: ImageTrainConfig, seed: int) -> str:
    """Return a digest of all that decides how the training goes on, first weights included."""
    digest = hashlib.sha256(msgspec.json.encode([config, seed]))
    for split in (lessons.training, lessons.validation):
        digest.update(f"{split.x.dtype} {split.x.shape}".encode())
        digest.update(np.ascontiguousarray(split.x).data)
        digest.update(split.y.astype("<i8").tobytes())
    for layer in model.layers:
        digest.update(f"{type(layer).__name__} {layer.trainable}".encode())
    values: list[Any] = model.get_weights()
    if lessons.teacher is not None:
        digest.update(f"teacher {lessons.teacher.share}".encode())
        values += lessons.teacher.logits.get_weights()
    for value in values:
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _note(course: _Course, config: ImageTrainConfig) -> str:
    number = f"epoch {len(course.epochs) + 1}/{config.epochs}"
    if not course.epochs:
        return number
    best = _best(course).validation_accuracy
    return f"{number}, validation {course.epochs[-1].validation_accuracy:.1%}, best {best:.1%}"
