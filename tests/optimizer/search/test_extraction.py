"""The longer training of a search's finalists: on which windows, and what decides."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
from paper_profiles import PROFILES
from rich.console import Console

from headtail.tensor import Array
from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.executor.executor import SerialExecutor
from optimizer.fast.engine import FastEngine
from optimizer.inputs import Inputs
from optimizer.labelled import Labelled
from optimizer.partition import Bounds
from optimizer.progress import Terminal
from optimizer.recipe.recipe import NetworkConfig, Recipe, TrainConfig
from optimizer.recipe.search import SearchConfig
from optimizer.run.search import search_or_restore
from optimizer.run.short_training import ShortTraining
from optimizer.run_folder import open_run
from optimizer.search.genome_cost import Terms
from optimizer.training.fitting import first_weights
from optimizer.training.training import Lessons, run_training

SEARCH = SearchConfig(
    channels=(1, 2), lengths=(0,), population=6, generations=1, epochs=1, select="accuracy",
    finalists=2, extraction=3, folds=2,
)  # fmt: skip
TRAIN = TrainConfig(batch=16, learning_rate=0.02, select="last", balance="none")
RECIPE = Recipe("m", "1", "t", NetworkConfig((32, 8, 4), (1, 1, 2)), 7, search=SEARCH, train=TRAIN)


def waves(count: int, seed: int) -> Labelled:
    """Draw windows of two classes that differ in their mean; all differ from one another."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    return Labelled((rng.normal(0, 2, (count, 32, 1)) + y[:, None, None]).astype(np.float32), y)


INPUTS = Inputs(waves(120, 1), waves(40, 2), waves(30, 3))


def test_finalists_are_judged_by_the_mean_over_folds(tmp_path: Path) -> None:
    """Each made again here from what the seed draws; the test split has no part in it."""
    trainer = ShortTraining(RECIPE, [INPUTS], 2)
    terms = Terms(PROFILES, Bounds(), "edge_energy", (Encoding.FLOAT32,))
    reporter, folder = Terminal(Console(file=io.StringIO())), open_run(tmp_path, RECIPE, b"")
    record = search_or_restore(RECIPE, terms, trainer, SerialExecutor(), folder, reporter)
    assert len(record.finalists) == 2
    windows = INPUTS.train.joined(INPUTS.validation)
    config = msgspec.structs.replace(TRAIN, epochs=3)
    for finalist in record.finalists:
        expected = []
        for fold in (1, 2):
            order = np.random.default_rng([7, fold]).permutation(160)
            held_out, rest = windows.take(order[:40]), windows.take(order[40:])
            candidate = finalist.candidate(2)
            given = Inputs(rest, held_out, INPUTS.test)
            # First weights are those of every training of the search.
            calibrated = Inputs(INPUTS.train, held_out, INPUTS.test).calibration
            expected.append(accuracy(candidate, given, calibrated, config))
        assert finalist.final_score == pytest.approx(np.mean(expected))
        assert finalist.epochs == 3
    best = max(record.finalists, key=lambda f: f.final_score or 0)
    assert record.winner == best


def accuracy(
    candidate: Candidate, inputs: Inputs, calibration: Array, config: TrainConfig
) -> float:
    """Train with the engine itself; return the share of held-out windows that is right."""
    engine = FastEngine(candidate.genome, first_weights(candidate.genome, 7, calibration))
    lessons = Lessons(inputs.train, inputs.validation)
    run_training(engine, lessons, config, np.random.default_rng(7), lambda epoch: None)
    return float((engine.logits(inputs.validation.x).argmax(1) == inputs.validation.y).mean())


def test_folds_without_a_longer_training_are_refused() -> None:
    with pytest.raises(ValueError, match="set extraction"):
        SearchConfig(folds=2)
