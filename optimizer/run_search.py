"""The search stage of a run: done once, its outcome kept in the run's folder."""

import keras
import msgspec
import numpy as np

from headtail.errors import DataError
from headtail.tensor import Array
from optimizer.genome_cost import Terms, assess
from optimizer.keras_onnx import before_softmax
from optimizer.network import Genome, build_keras, initialise
from optimizer.progress import Advance, Reporter
from optimizer.recipe import Recipe, SearchConfig
from optimizer.run_folder import SEARCH, RunFolder
from optimizer.run_inputs import Inputs
from optimizer.scores import score
from optimizer.search import GenerationRecord, Individual, Problem, SearchRecord, search
from optimizer.train import Epoch, Labelled, make_deterministic, predict, train


def search_or_restore(
    recipe: Recipe, terms: Terms, trainer: "ShortTraining", folder: RunFolder, reporter: Reporter
) -> SearchRecord:
    """Return what the recipe's search finds, from the folder where it is finished.

    An interrupted search starts again and comes to the same end.

    Raises:
        SearchError: If no network is within the bounds.
        ConfigError: If a loss leaves the finite numbers, or the folder's record cannot be read.
    """
    assert recipe.search is not None, "asked for"
    record = folder.read_record(SEARCH, SearchRecord)
    if record is None:
        problem = Problem(
            network=recipe.network,
            classes=trainer.classes,
            config=recipe.search,
            assess=lambda genome: assess(genome, terms),
            train=trainer.scores,
            limit_j=terms.bounds.edge_j or float("inf"),
        )
        folder.append({"event": "search", "seed": recipe.seed})
        with reporter.stage("search") as advance:
            record = search(problem, recipe.seed, _History(recipe.search, folder, advance))
        folder.write_record(SEARCH, record)
    reporter.say(f"found {record}")
    return record


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

    def scores(self, genome: Genome) -> tuple[float, float]:
        """Train a network; return its scores on the steering and on the deciding half.

        The best epoch is chosen on the steering half, as [train] says.
        """
        make_deterministic(self._seed)
        model = build_keras(genome, self._seed)
        initialise(model, self._calibration)
        rng = np.random.default_rng(self._seed)
        train(model, self._training, self.halves[0], self._config, rng, _ignore)
        steering, deciding = (self._score(model, half) for half in self.halves)
        keras.backend.clear_session()  # what Keras keeps of every model would pile up
        return steering, deciding

    def _score(self, model: keras.Model, labelled: Labelled) -> float:
        given = predict(before_softmax(model), labelled.x).argmax(axis=1)
        scores = score(labelled.y, given, self.classes)
        return scores.accuracy if self._select == "accuracy" else scores.macro_f1


class _History:
    """Shows the search's progress and writes its history."""

    def __init__(self, config: SearchConfig, folder: RunFolder, advance: Advance) -> None:
        self._config = config
        self._folder = folder
        self._advance = advance
        self._best = "no network within the bounds yet"
        self._best_score = -1.0
        self._seen: set[Individual] = set()

    def individual(self, generation: int, done: int, individual: Individual) -> None:
        """Write a network once; move the bar for every one."""
        if individual not in self._seen:
            self._seen.add(individual)
            self._folder.append(
                {"event": "individual", "generation": generation, **_plain(individual)}
            )
        if individual.score is not None and individual.score > self._best_score:
            self._best_score = individual.score
            self._best = f"best {self._config.select} {individual.score:.3f}"
        total = self._config.population * (self._config.generations + 1)
        note = f"generation {generation} of {self._config.generations}, {self._best}"
        self._advance(done, total, note)

    def generation(self, record: GenerationRecord) -> None:
        """Write one generation's figures."""
        self._folder.append({"event": "generation", **_plain(record)})


def _plain(record: msgspec.Struct) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(record)
    return plain


def _take(labelled: Labelled, chosen: Array) -> Labelled:
    return Labelled(labelled.x[chosen], labelled.y[chosen])


def _ignore(epoch: Epoch) -> None:
    """Tell nobody of a pass of a short training."""
