"""Scores of a classifier: accuracy, macro-F1 and the confusion matrix they come from."""

from dataclasses import dataclass

import numpy as np

from headtail.errors import ShapeMismatch
from headtail.tensor import Array


@dataclass(frozen=True, slots=True)
class Scores:
    """How the classes of some windows were told apart."""

    confusion: Array
    """Windows by true class (row) and given class (column), shape (classes, classes), int."""

    @property
    def accuracy(self) -> float:
        """Share of windows given their true class."""
        return float(np.trace(self.confusion) / max(1, self.confusion.sum()))

    @property
    def precision(self) -> Array:
        """Share of the windows given each class that have it, shape (classes,); NaN for none."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> Array:
        """Share of the windows of each class given it, shape (classes,); NaN where none has it."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def f1(self) -> Array:
        """F1 per class, shape (classes,); NaN where no window has that class."""
        true, given = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        f1 = 2 * np.diag(self.confusion) / np.maximum(1, true + given)
        return np.where(true > 0, f1, np.nan)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur."""
        return float(np.nanmean(self.f1)) if self.confusion.sum() else 0.0


def score(expected: Array, given: Array, classes: int) -> Scores:
    """Compare class indices, both of shape (N,).

    Raises:
        ShapeMismatch: If the lengths differ.
    """
    if expected.shape != given.shape:
        raise ShapeMismatch("classes given", expected.shape, given.shape)
    pairs = expected.astype(np.int64) * classes + given
    return Scores(np.bincount(pairs, minlength=classes**2).reshape(classes, classes))


def _ratio(part: Array, whole: Array) -> Array:
    return np.where(whole > 0, part / np.maximum(1, whole), np.nan)
