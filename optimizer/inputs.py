"""A data set as the network takes it, and the windows of it that each later stage looks at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headtail.bundle.manifest import Step
from headtail.errors import DataError, HeadtailError, ShapeMismatch
from headtail.preprocess.pipeline import Pipeline
from headtail.tensor import Array
from optimizer.data.dataset import Dataset, Split
from optimizer.labelled import Labelled
from optimizer.recipe.recipe import MIN_VERIFY_WINDOWS, Recipe

CALIBRATION_WINDOWS = 512
SAMPLE_WINDOWS = 8


@dataclass(frozen=True, slots=True)
class Inputs:
    """Model inputs of the three splits, float32, shape (N, length, channels)."""

    train: Labelled
    validation: Labelled
    test: Labelled
    captured: Labelled | None = None
    """What agents saw, of class -1 where nobody said which; those with a class are in `train`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Length and channels of each window."""
        length, channels = self.train.x.shape[1:]
        return length, channels

    @property
    def calibration(self) -> Array:
        """Windows that set first weights and int8 ranges, spread over the training split.

        Up to half of them are captured ones, where there are any.
        """
        if self.captured is None:
            return _spread(self.train.x, CALIBRATION_WINDOWS)
        own = _spread(self.captured.x, CALIBRATION_WINDOWS // 2)
        return np.concatenate([_spread(self.train.x, CALIBRATION_WINDOWS - len(own)), own])

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


def build_inputs(
    dataset: Dataset, recipe: Recipe, preprocess: Sequence[Step] | None = None
) -> Inputs:
    """Run window steps over every window of a data set.

    Args:
        dataset: Windows as the data brings them.
        recipe: Holds the steps and the network that takes what they give.
        preprocess: Other steps in place of the recipe's; what they give may have any length and
            number of channels, the same for all windows.

    Raises:
        DataError: If a window cannot be brought to the input; names the split and other steps.
    """
    is_own = preprocess is None
    steps = recipe.preprocess if preprocess is None else tuple(preprocess)
    pipeline = Pipeline(steps)
    named = "" if is_own else f", steps {', '.join(step.name for step in steps)}"
    expected = recipe.network.lengths[0], recipe.network.channels[0]

    def build(name: str, split: Split) -> Labelled:
        nonlocal expected
        try:
            windows = [pipeline.window(window) for window in split.x]
            if not is_own and name == "train":
                expected = windows[0].shape if windows[0].ndim == len(expected) else (-1, -1)
            for shape in dict.fromkeys(window.shape for window in windows):
                if shape != expected:
                    raise ShapeMismatch("window after the preprocess steps", expected, shape)
        except HeadtailError as error:
            raise DataError(f"data '{dataset.name}', split '{name}'{named}", str(error)) from error
        return Labelled(np.stack(windows), split.y)

    return Inputs(**{name: build(name, split) for name, split in dataset.splits.items()})


def with_captured(inputs: Inputs, captured: Labelled | None) -> Inputs:
    """Add windows that agents saw: to the training split where they have a class, else only aside.

    One that is in the validation or test split is left out: it would be fitted and then judged by.

    Args:
        inputs: Without captured windows.
        captured: As the network takes them, of class -1 where nobody said which; None adds none.
    """
    if captured is None:
        return inputs
    held_out = {w.tobytes() for split in (inputs.validation, inputs.test) for w in split.x}
    taken = captured.take(np.array([w.tobytes() not in held_out for w in captured.x], np.bool_))
    if not len(taken.y):
        return inputs
    train = inputs.train.joined(taken.take(taken.y >= 0))
    return replace(inputs, train=train, captured=taken)


def build_every_input(dataset: Dataset, recipe: Recipe) -> tuple[Inputs, ...]:
    """Return what the recipe's own steps give, then what those of [[search.inputs]] do.

    Raises:
        DataError: If a window cannot be brought to an input; names the split and the steps.
    """
    others = recipe.search.inputs if recipe.search else ()
    return (
        build_inputs(dataset, recipe),
        *(build_inputs(dataset, recipe, other.preprocess) for other in others),
    )


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
