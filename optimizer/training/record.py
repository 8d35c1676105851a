"""How the training of a run went: the file `training.json`."""

import msgspec
import numpy as np

from optimizer.scores import Scores
from optimizer.training.training import Epoch


class TrainingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `training.json`: how the training went and how good the best epoch is."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    validation: list[list[int]]
    """Confusion matrix, rows true classes, on the split that chose the epoch."""
    test: list[list[int]]
    """Confusion matrix on the split that was looked at once, at the end."""

    @property
    def validation_scores(self) -> Scores:
        """Scores on the validation split."""
        return Scores(np.asarray(self.validation))

    @property
    def test_scores(self) -> Scores:
        """Scores on the test split."""
        return Scores(np.asarray(self.test))
