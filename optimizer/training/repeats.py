"""Trainings of one network repeated with other seeds and on other splits: `statistics.json`."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from optimizer.scores import Scores

Kind = Literal["seed", "split"]


class Repeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One more training of the network."""

    kind: Kind
    """What differs from the run's own: the seed of the training, or the split of the data."""
    seed: int
    split: int
    """Seed of the data's split."""
    validation: list[list[int]]
    """Confusion matrix, rows true classes, on the split that chose the epoch."""
    test: list[list[int]]
    """Confusion matrix on the split that was looked at once."""


class Figures(msgspec.Struct, frozen=True):
    """Mean and standard deviation (of a sample) over repeats, on the test split."""

    accuracy_mean: float
    accuracy_std: float
    macro_f1_mean: float
    macro_f1_std: float
    count: int


class StatisticsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `statistics.json`."""

    repeats: tuple[Repeat, ...]
    seconds: float
    protocol: str
    """How the repeats were made, in words."""

    def figures(self, kind: Kind) -> Figures | None:
        """Return the figures over the repeats of a kind, None where there are none."""
        tested = [Scores(np.asarray(r.test)) for r in self.repeats if r.kind == kind]
        if not tested:
            return None
        accuracies, f1s = [s.accuracy for s in tested], [s.macro_f1 for s in tested]
        return Figures(
            float(np.mean(accuracies)),
            _std(accuracies),
            float(np.mean(f1s)),
            _std(f1s),
            len(tested),
        )

    def __str__(self) -> str:
        parts = []
        names: dict[Kind, str] = {"seed": "seeds on the run's split", "split": "further splits"}
        for kind, name in names.items():
            figures = self.figures(kind)
            if figures is not None:
                parts.append(
                    f"{figures.count} {name}: test accuracy {100 * figures.accuracy_mean:.1f} +-"
                    f" {100 * figures.accuracy_std:.1f} %, macro-F1"
                    f" {100 * figures.macro_f1_mean:.1f} +- {100 * figures.macro_f1_std:.1f} %"
                )
        return "; ".join(parts)


def _std(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
