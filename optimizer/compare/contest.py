"""The harness of a comparison: every network is trained, tested and priced alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from headtail.energy import predict_compute, predict_transmission
from headtail.operations import Operations
from optimizer.candidate import Candidate
from optimizer.compare.compare import ComparatorRow
from optimizer.data.dataset import Dataset
from optimizer.inputs import Inputs
from optimizer.progress import Reporter
from optimizer.recipe.recipe import CompareConfig, Recipe
from optimizer.run_folder import RunFolder
from optimizer.scores import Scores
from optimizer.search.genome_cost import Terms
from optimizer.search.record import SearchRecord

Retrain = Callable[[Candidate, Inputs, int], tuple[ArrayLike, ArrayLike]]
"""Trains a network as [train] says, the activation travelling as the candidate says; takes the
inputs and a seed, returns the confusion matrices of the validation and the test split."""
Search = Callable[[Recipe, RunFolder, Reporter], SearchRecord]
"""Does what a recipe's [search] says in a folder of its own, where an interrupted one goes on."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What every row of a comparison is made from."""

    recipe: Recipe
    """With its [search], if it has one, and its [compare]."""
    dataset: Dataset
    inputs: Sequence[Inputs]
    """The recipe's own inputs, then those of [[search.inputs]], as candidates number them."""
    terms: Terms
    search: Search | None
    """Searches as the run's own search did; None where the recipe has none."""
    retrain: Retrain

    @property
    def config(self) -> CompareConfig:
        """Section [compare]."""
        assert self.recipe.compare is not None, "asked for"
        return self.recipe.compare

    @property
    def classes(self) -> int:
        """Outputs of each network."""
        return len(self.dataset.labels)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of each row's trainings."""
        return tuple((self.recipe.seed + i) % 2**32 for i in range(self.config.seeds))

    def tested(self, row: ComparatorRow, train: Callable[[int], ArrayLike]) -> ComparatorRow:
        """Return a priced row with its figures on the test split and what they took.

        Args:
            row: With the trainings and the time before these.
            train: Trains once; takes a seed, returns the confusion matrix of the test split.
        """
        began = time.monotonic()
        scores = [Scores(np.asarray(train(seed))) for seed in self.seeds]
        accuracies = [s.accuracy for s in scores]
        return msgspec.structs.replace(
            row,
            origin="measured",
            accuracy=float(np.mean(accuracies)),
            accuracy_std=float(np.std(accuracies, ddof=1)) if len(scores) > 1 else None,
            macro_f1=float(np.mean([s.macro_f1 for s in scores])),
            trainings=row.trainings + len(scores),
            seconds=row.seconds + time.monotonic() - began,
        )

    def price(self, head: Operations, whole: Operations, sent_bytes: int) -> "Price":
        """Return the energies of one window with `head` on the edge and the rest in the fog."""
        device, link = self.terms.profiles.devices[0], self.terms.profiles.links[0]
        head_j = predict_compute(device, head).joules
        fog_j = max(0.0, predict_compute(device, whole).joules - head_j) / self.terms.fog_factor
        edge_j = head_j + predict_transmission(link, sent_bytes).joules
        return Price(edge_j, edge_j + fog_j)

    def breaches(self, **values: float) -> str:
        """Say which of the recipe's bounds `values` break; empty where none."""
        broken = [
            f"{name} {value:.4g} is beyond its bound of {limit:.4g}"
            for name, value in values.items()
            if (limit := getattr(self.terms.bounds, name)) is not None and value > limit
        ]
        return "; ".join(broken)


@dataclass(frozen=True, slots=True)
class Price:
    """Modelled energies of one window."""

    edge_j: float
    total_j: float
