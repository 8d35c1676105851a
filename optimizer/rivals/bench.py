"""What every method of a comparison is given: one trained network, images, a budget."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import msgspec
import numpy as np

from headtail.tensor import Array
from optimizer.data.dataset import Dataset, Split
from optimizer.images.backbone import build_classifier
from optimizer.images.evaluate import evaluate
from optimizer.images.step import Teacher
from optimizer.images.training import ImageLessons, Watch, train
from optimizer.keras_onnx import before_softmax
from optimizer.progress import Advance
from optimizer.recipe.rivals import RivalsConfig, RivalsRecipe
from optimizer.training.keras_engine import make_deterministic

CALIBRATION_BATCH = 64


@dataclass(frozen=True, slots=True)
class Bench:
    """The same for every method at one seed."""

    recipe: RivalsRecipe
    dataset: Dataset
    seed: int

    @property
    def config(self) -> RivalsConfig:
        """Section [rivals]."""
        return self.recipe.rivals

    @property
    def lessons(self) -> ImageLessons:
        """Images to learn from, and those by which epochs are chosen."""
        return ImageLessons(self.dataset.train, self.dataset.validation)

    @property
    def calibration(self) -> Split:
        """Training images on which importances and ranges are measured."""
        training = self.dataset.train
        order = self.rng(7).permutation(len(training))
        chosen = np.sort(order[: self.config.calibration_images])
        return Split(training.x[chosen], training.y[chosen])

    def rng(self, purpose: int) -> np.random.Generator:
        """Return a generator of the seed's own for one purpose."""
        return np.random.default_rng([self.seed, purpose])

    def calibration_batches(self) -> Iterator[tuple[Array, Array]]:
        """Yield the calibration images as a model takes them, shape (N, H, W, 3), and classes."""
        split = self.calibration
        for start in range(0, len(split), CALIBRATION_BATCH):
            part = slice(start, start + CALIBRATION_BATCH)
            yield as_input(split.x[part]), split.y[part]

    def train_network(self, watch: Watch) -> tuple[keras.Model, float]:
        """Train the network that all methods start from; return it and the seconds of training."""
        make_deterministic(self.seed)
        shape = self.dataset.train.x.shape[1:]
        model = build_classifier(
            self.recipe.backbone, (shape[0], shape[1], shape[2]), len(self.dataset.labels)
        )
        done = train(model, self.lessons, self.recipe.train, self.seed, watch)
        return model, sum(done.epoch_s)

    def fine_tune(
        self, model: keras.Model, epochs: int, advance: Advance, teacher: keras.Model | None = None
    ) -> float:
        """Train what is trainable in a model for some epochs of the budget; return the seconds."""
        config = msgspec.structs.replace(self.config.fine_tune, epochs=epochs)
        lessons, share = self.lessons, self.config.teacher_share
        if teacher is not None and share:
            said = Teacher(before_softmax(teacher), share)
            lessons = ImageLessons(lessons.training, lessons.validation, said)
        done = train(model, lessons, config, self.seed, Watch(advance, clock=cpu_seconds))
        return sum(done.epoch_s)

    def accuracy(self, model: keras.Model) -> float:
        """Return the accuracy on the validation images, 0 to 1."""
        return evaluate(model, self.dataset.validation).accuracy


def as_input(images: Array) -> Array:
    """Return images as an exported model takes them, float32 in [0, 1]."""
    values = np.asarray(images, np.float32)
    return values / np.float32(255) if images.dtype == np.uint8 else values


def cpu_seconds() -> float:
    """Return what this process has computed so far: on a busy machine the clock says nothing."""
    return time.process_time()
