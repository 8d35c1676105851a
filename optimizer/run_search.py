"""The search stage of a run: done once, its outcome kept in the run's folder."""

import dataclasses

import keras
import msgspec
import numpy as np

from headtail.energy import predict_compute
from headtail.errors import DataError, SearchError
from headtail.operations import Operations
from headtail.tensor import Array
from optimizer.executor import open_executor
from optimizer.genome_cost import Terms, assess
from optimizer.individual import Candidate, Goal
from optimizer.keras_onnx import before_softmax
from optimizer.labelled import Labelled
from optimizer.network import build_keras, initialise
from optimizer.progress import Reporter
from optimizer.recipe import Recipe
from optimizer.run_folder import SEARCH, RunFolder
from optimizer.run_inputs import Inputs
from optimizer.scores import score
from optimizer.search import Problem, search
from optimizer.search_history import SearchHistoryWriter, continue_history
from optimizer.search_record import SearchRecord
from optimizer.search_training import Evaluate
from optimizer.train import Epoch, make_deterministic, predict, train


def search_or_restore(
    recipe: Recipe, terms: Terms, trainer: "ShortTraining", folder: RunFolder, reporter: Reporter
) -> SearchRecord:
    """Return what the recipe's search finds, from the folder where it is finished.

    An interrupted search goes on with the history it left and comes to the same end.

    Raises:
        SearchError: If no network is within the bounds, or something that is asked for cannot be
            predicted for the device; nothing has been trained then.
        ConfigError: If a loss leaves the finite numbers, or the folder's record cannot be read.
    """
    assert recipe.search is not None, "asked for"
    record = folder.read_record(SEARCH, SearchRecord)
    if record is None:
        goals = front_goals(recipe)
        check_speeds(goals, terms)
        earlier = continue_history(folder, goals, recipe.seed)
        scores = trainer.scores  # one object: the executor's workers get it once
        with open_executor(recipe.executor) as executor, reporter.stage("search") as advance:
            problem = _problem(
                recipe, terms, trainer.classes, lambda networks: executor.run(scores, networks)
            )
            problem = dataclasses.replace(problem, restored=earlier.scores)
            writer = SearchHistoryWriter(recipe.search, folder, advance, earlier)
            record = search(problem, recipe.seed, writer)
            writer.found(record.winner)
        folder.write_record(SEARCH, record)
    reporter.say(f"found {record}")
    return record


def front_goals(recipe: Recipe) -> tuple[Goal, ...]:
    """Return what the front is about: the search's objectives, or accuracy and the point's own."""
    assert recipe.search is not None, "asked for"
    objectives = recipe.search.objectives
    return objectives if len(objectives) > 1 else ("accuracy", recipe.partition.objective)


def check_speeds(goals: tuple[Goal, ...], terms: Terms) -> None:
    """Refuse to look for a latency that no profile predicts.

    Raises:
        SearchError: If latency is a goal or bounded, and the device profile has no speeds.
    """
    device = terms.profiles.devices[0]
    is_asked = "latency" in goals or terms.bounds.latency_s is not None
    if is_asked and predict_compute(device, Operations(conv_macs=1)).seconds is None:
        raise SearchError(
            "search",
            f"device profile '{device.name}' has no speeds, so latency can be neither an objective"
            " nor bounded",
        )


def _problem(recipe: Recipe, terms: Terms, classes: int, evaluate: Evaluate) -> Problem:
    config = recipe.search
    assert config is not None, "asked for"
    is_whole = config.method in {"no_partition", "partition_after"}
    asked = dataclasses.replace(terms, is_partitioned=not is_whole)
    bounds = terms.bounds

    return Problem(
        network=recipe.network,
        classes=classes,
        config=config,
        assess=lambda genome: assess(genome, asked),
        evaluate=evaluate,
        goals=front_goals(recipe),
        limits={
            "edge_energy": bounds.edge_j,
            "total_energy": bounds.total_j,
            "parameters": bounds.parameters,
            "latency": bounds.latency_s,
        },
        reassess=(lambda g: assess(g, terms)) if config.method == "partition_after" else None,
    )


class ShortTraining:
    """Trains networks briefly: the same windows and draws for all, whatever came before.

    Attributes:
        classes: Outputs of each network.
        halves: The validation split in two, drawn at random: one steers the search, one decides.
    """

    def __init__(self, recipe: Recipe, inputs: Inputs, classes: int) -> None:
        """Draw the windows.

        Raises:
            DataError: If the validation split is too small to be halved.
        """
        assert recipe.search is not None, "asked for"
        if len(inputs.validation.y) < 2:
            raise DataError("data", "expected at least 2 validation windows to search with")
        rng = np.random.default_rng(recipe.seed)
        training, validation = inputs.train, rng.permutation(len(inputs.validation.y))
        drawn = rng.permutation(len(training.y))[: recipe.search.windows]
        half = len(validation) // 2
        self.classes = classes
        self.halves = (
            _take(inputs.validation, validation[:half]),
            _take(inputs.validation, validation[half:]),
        )
        self._seed = recipe.seed
        self._select = recipe.search.select
        self._config = msgspec.structs.replace(recipe.train, epochs=recipe.search.epochs)
        self._training = _take(training, drawn)
        self._calibration = inputs.calibration

    def scores(self, candidate: Candidate) -> tuple[float, float]:
        """Train a network; return its scores on the steering and on the deciding half.

        The best epoch is chosen on the steering half, as [train] says.
        """
        make_deterministic(self._seed)
        model = build_keras(candidate.genome, self._seed)
        initialise(model, self._calibration)
        rng = np.random.default_rng(self._seed)
        config = self._config
        if candidate.epochs:
            config = msgspec.structs.replace(config, epochs=candidate.epochs)
        train(model, self._training, self.halves[0], config, rng, _ignore)
        steering, deciding = (self._score(model, half) for half in self.halves)
        keras.backend.clear_session()  # what Keras keeps of every model would pile up
        return steering, deciding

    def _score(self, model: keras.Model, labelled: Labelled) -> float:
        given = predict(before_softmax(model), labelled.x).argmax(axis=1)
        scores = score(labelled.y, given, self.classes)
        return scores.accuracy if self._select == "accuracy" else scores.macro_f1


def _take(labelled: Labelled, chosen: Array) -> Labelled:
    return Labelled(labelled.x[chosen], labelled.y[chosen])


def _ignore(epoch: Epoch) -> None:
    """Tell nobody of a pass of a short training."""
