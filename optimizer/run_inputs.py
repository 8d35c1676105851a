"""A data set as the network takes it, and the windows of it that each later stage looks at."""

from dataclasses import dataclass

import numpy as np

from headtail.errors import DataError, HeadtailError, ShapeMismatch
from headtail.preprocess.pipeline import Pipeline
from headtail.tensor import Array
from optimizer.data.dataset import Dataset, Split
from optimizer.labelled import Labelled
from optimizer.recipe import MIN_VERIFY_WINDOWS, Recipe

CALIBRATION_WINDOWS = 512
SAMPLE_WINDOWS = 8


@dataclass(frozen=True, slots=True)
class Inputs:
    """Model inputs of the three splits, float32, shape (N, length, channels)."""

    train: Labelled
    validation: Labelled
    test: Labelled

    @property
    def calibration(self) -> Array:
        """Training windows that set first weights and int8 ranges, spread over the split."""
        return _spread(self.train.x, CALIBRATION_WINDOWS)

    @property
    def samples(self) -> Array:
        """Validation windows for the bundle's self-test, the classes in turn."""
        y = self.validation.y
        turns = np.empty(len(y), np.int64)
        for label in np.unique(y):
            members = np.flatnonzero(y == label)
            turns[members] = np.arange(len(members))
        return self.validation.x[np.lexsort((y, turns))[:SAMPLE_WINDOWS]]

    def verification(self, count: int) -> Array:
        """Return `count` windows that training did not fit, as far as there are so many.

        Raises:
            DataError: If all windows together are fewer than a verification needs.
        """
        windows = _spread(self.validation.x, count)
        if len(windows) < MIN_VERIFY_WINDOWS:
            windows = np.concatenate([windows, self.train.x])[: max(count, MIN_VERIFY_WINDOWS)]
        if len(windows) < MIN_VERIFY_WINDOWS:
            raise DataError(
                "data",
                f"expected at least {MIN_VERIFY_WINDOWS} windows to verify the export with,"
                f" received {len(windows)}",
            )
        return windows


def build_inputs(dataset: Dataset, recipe: Recipe) -> Inputs:
    """Run the recipe's window steps over every window of a data set.

    Raises:
        DataError: If a window cannot be brought to the network's input; names the split.
    """
    pipeline = Pipeline(recipe.preprocess)
    expected = (recipe.network.lengths[0], recipe.network.channels[0])

    def build(name: str, split: Split) -> Labelled:
        try:
            x = np.stack([pipeline.window(window) for window in split.x])
            if x.shape[1:] != expected:
                raise ShapeMismatch("window after the preprocess steps", expected, x.shape[1:])
        except HeadtailError as error:
            raise DataError(f"data '{dataset.name}', split '{name}'", str(error)) from error
        return Labelled(x, split.y)

    return Inputs(**{name: build(name, split) for name, split in dataset.splits.items()})


def draw_test_windows(dataset: Dataset, count: int, rng: np.random.Generator) -> Split:
    """Return up to `count` raw windows of the test split, drawn at random, in their order."""
    test = dataset.test
    if len(test) <= count:
        return test
    chosen = np.sort(rng.choice(len(test), count, replace=False))
    return Split(test.x[chosen], test.y[chosen])


def _spread(windows: Array, count: int) -> Array:
    if len(windows) <= count:
        return windows
    return np.asarray(windows[np.linspace(0, len(windows) - 1, count).round().astype(np.int64)])
