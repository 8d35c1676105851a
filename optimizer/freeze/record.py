"""How the chosen layers of a run were trained: the file `freezing.json`."""

from collections.abc import Mapping

import msgspec
import numpy as np

from optimizer.freeze.choose import FreezeRecord
from optimizer.freeze.mask import FreezeMask, parse_mask
from optimizer.freeze.training import FreezePass
from optimizer.scores import Scores


class FreezingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A freeze mask, where it comes from, and the training under it."""

    layers: tuple[str, ...]
    """Names in the order of the mask."""
    parameters: tuple[int, ...]
    """Of each layer, those that an optimiser may change."""
    mask: str
    """One letter per layer: "1" trained, "0" frozen."""
    passes: tuple[FreezePass, ...]
    cached_bytes: int
    """Of activations below the first trained layer, kept for the training images."""
    flops: float
    """Operations of the training, as predicted."""
    whole_flops: float
    """The same where every layer is trained."""
    validation: list[list[int]]
    """Confusion matrix, rows true classes."""
    test: list[list[int]]
    """Confusion matrix of the test split, which decided nothing."""
    measured_j: Mapping[str, float] = {}
    """Energy of the training by meter, where the machine has one."""
    selection: FreezeRecord | None = None
    """How the mask was found; None where the recipe gives the layers."""

    @property
    def trained(self) -> FreezeMask:
        """The mask as bools."""
        return parse_mask(self.mask)

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
        """Measured time of all passes."""
        return sum(done.seconds for done in self.passes)
