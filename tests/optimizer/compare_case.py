"""A contest on generated windows, its networks trained for a few passes; for several tests."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from paper_profiles import PROFILES

from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.compare.contest import Contest
from optimizer.data.dataset import Dataset, Split
from optimizer.inputs import Inputs, build_inputs
from optimizer.labelled import Labelled
from optimizer.partition import Bounds
from optimizer.recipe.recipe import CompareConfig, NetworkConfig, Recipe, TrainConfig
from optimizer.recipe.search import SearchConfig
from optimizer.scores import score
from optimizer.search.genome_cost import Terms

SEARCH = SearchConfig(channels=(1, 2, 4), lengths=(0,), population=6, generations=2)


def make_dataset(length: int = 48, seed: int = 0) -> Dataset:
    """Return windows in [0, 1], shape (N, length), with a bump early (class 0) or late (1)."""
    rng = np.random.default_rng(seed)

    def split(count: int) -> Split:
        y = np.arange(count) % 2
        x = rng.random((count, length)).astype(np.float32) * 0.3
        quarter = length // 4
        x[y == 0, quarter : quarter + 6] += 0.6
        x[y == 1, -quarter - 6 : -quarter] += 0.6
        return Split(x, y)

    labels = ("early", "late")
    return Dataset("bumps", split(96), split(40), split(40), labels, (), "none", True)


def make_recipe(**changes: Any) -> Recipe:
    """Return the recipe of the contest, some of its fields changed."""
    fields: dict[str, Any] = {
        "name": "bumps",
        "version": "1",
        "task": "where the bump is",
        "network": NetworkConfig((48, 12, 6), (1, 2, 2)),
        "preprocess": [{"name": "reshape", "parameters": {"shape": [48, 1]}}],
        "train": TrainConfig(epochs=5, batch=16, learning_rate=0.01),
        "search": SEARCH,
        "compare": CompareConfig(vgg_width=1, vgg_epochs=1, vgg_learning_rate=0.01),
    }
    plain = msgspec.to_builtins({**fields, **changes})
    return msgspec.convert(plain, Recipe)


def make_contest(
    recipe: Recipe | None = None, dataset: Dataset | None = None, **changes: Any
) -> Contest:
    """Return a contest that trains with the compiled engine, some of its fields changed."""
    recipe, dataset = recipe or make_recipe(), dataset or make_dataset()
    bounds = changes.pop("bounds", Bounds())
    terms = Terms(PROFILES, bounds, "edge_energy", (Encoding.FLOAT32, Encoding.INT8))
    fields: dict[str, Any] = {"terms": terms, "retrain": Retrainer(recipe), "search": None}
    if "inputs" not in changes:
        fields["inputs"] = (build_inputs(dataset, recipe),)
    return Contest(recipe=recipe, dataset=dataset, **{**fields, **changes})


class Retrainer:
    """Trains as [train] says, and keeps what it was asked for."""

    def __init__(self, recipe: Recipe) -> None:
        """Begin with nothing trained."""
        self._config = recipe.train
        self.asked: list[tuple[Candidate, Inputs, int]] = []

    def __call__(
        self, candidate: Candidate, inputs: Inputs, seed: int
    ) -> tuple[ArrayLike, ArrayLike]:
        """Return the confusion matrices of the validation and the test split."""
        from optimizer.fast.engine import FastEngine
        from optimizer.fast.weights import glorot, initialise
        from optimizer.training.training import Lessons, run_training

        self.asked.append((candidate, inputs, seed))
        genome = candidate.genome
        weights = initialise(genome, glorot(genome, seed), inputs.calibration)
        engine = FastEngine(genome, weights)
        lessons = Lessons(inputs.train, inputs.validation)
        rng = np.random.default_rng(seed)
        run_training(engine, lessons, self._config, rng, lambda epoch: None)

        def confusion(labelled: Labelled) -> ArrayLike:
            given = engine.logits(labelled.x).argmax(axis=1)
            return score(labelled.y, given, genome.classes).confusion

        return confusion(inputs.validation), confusion(inputs.test)
