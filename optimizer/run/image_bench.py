"""What the stages of a run on images work with, and the one way in which they train."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from optimizer.data.dataset import Dataset, Split
from optimizer.data.images import halves, images_config
from optimizer.images.config import ImageTrainConfig
from optimizer.images.energy import Meters, find_meters
from optimizer.images.evaluate import evaluate
from optimizer.images.training import ImageLessons, Watch, train
from optimizer.labelled import Labelled
from optimizer.progress import Advance, Reporter
from optimizer.recipe.image import ImageRecipe
from optimizer.run_folder import RunFolder
from optimizer.training.keras_engine import make_deterministic
from optimizer.training.stage import StageRecord


@dataclass(frozen=True, slots=True)
class ImageBench:
    """A recipe, its images and where the run is kept."""

    recipe: ImageRecipe
    dataset: Dataset
    folder: RunFolder
    reporter: Reporter
    meters: Meters
    first: Split
    """Dataset A, which is learned from first."""
    second: Split
    """Dataset B, which is learned from after pruning."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        height, width, channels = self.dataset.train.x.shape[1:]
        return height, width, channels

    @contextmanager
    def seeded(self, name: str, step: int = 0) -> Iterator[Advance]:
        """Show a stage whose draws do not depend on what this process did before."""
        make_deterministic((self.recipe.seed + 1_000_003 * step) % 2**32)
        with self.reporter.stage(name) as advance:
            yield self.meters.watching(advance)

    def train(
        self, model: keras.Model, split: Split, config: ImageTrainConfig, seed: int, watch: Watch
    ) -> StageRecord:
        """Train what is trainable in a model; its checkpoint, if any, is removed at the end."""
        is_whole = watch.checkpoint is None or not watch.checkpoint.exists()
        with metered(self.meters) as spent:
            lessons = ImageLessons(split, self.dataset.validation)
            trained = train(model, lessons, config, seed, watch)
        if watch.checkpoint is not None:
            watch.checkpoint.unlink(missing_ok=True)
        return StageRecord(
            epochs=trained.epochs,
            epoch_s=trained.epoch_s,
            best_epoch=trained.best_epoch,
            validation=trained.validation.confusion.tolist(),
            test=self.test(model),
            measured_j=spent if is_whole else {},
        )

    def test(self, model: keras.Model) -> list[list[int]]:
        """Return the confusion matrix of the test split; it decides nothing."""
        confusion: list[list[int]] = evaluate(model, self.dataset.test).confusion.tolist()
        return confusion


def open_bench(
    recipe: ImageRecipe, dataset: Dataset, folder: RunFolder, reporter: Reporter
) -> ImageBench:
    """Deal the training images into the two data sets, and look for meters."""
    rng = np.random.default_rng([recipe.data.seed, 1])
    first, second = halves(dataset.train, images_config(recipe.data), rng)
    return ImageBench(recipe, dataset, folder, reporter, find_meters(), first, second)


@contextmanager
def metered(meters: Meters) -> Iterator[dict[str, float]]:
    """Yield what holds, after the block, the joules that each meter counted in it."""
    before, spent = meters.read_j(), dict[str, float]()
    yield spent
    spent.update({name: j - before[name] for name, j in meters.read_j().items()})


def as_labelled(split: Split) -> Labelled:
    """Return images as they are, uint8, with their classes."""
    return Labelled(split.x, split.y)
