"""How one training of a run on images went, as its folder keeps it."""

from collections.abc import Mapping

import msgspec
import numpy as np

from optimizer.scores import Scores
from optimizer.training.training import Epoch


class StageRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training, its best epoch, and what that is worth."""

    epochs: tuple[Epoch, ...]
    epoch_s: tuple[float, ...]
    """Measured seconds of each epoch's steps."""
    best_epoch: int
    validation: list[list[int]]
    """Confusion matrix, rows true classes, on the split that chose the epoch."""
    test: list[list[int]]
    """Confusion matrix on the test split, which decided nothing."""
    measured_j: Mapping[str, float] = {}
    """Energy by meter, where the machine has one and the training was not interrupted."""

    @property
    def validation_scores(self) -> Scores:
        """Scores on the validation split."""
        return Scores(np.asarray(self.validation))

    @property
    def test_scores(self) -> Scores:
        """Scores on the test split."""
        return Scores(np.asarray(self.test))

    @property
    def training_s(self) -> float:
        """Measured time of all epochs' steps."""
        return sum(self.epoch_s)
