"""What a search does with a network: train it briefly and see how good it is."""

from collections.abc import Sequence

import msgspec
import numpy as np

from headtail.errors import DataError
from optimizer.candidate import Candidate
from optimizer.fake_wire import FakeWire
from optimizer.fast.engine import FastEngine
from optimizer.inputs import Inputs
from optimizer.labelled import Labelled
from optimizer.recipe.recipe import Recipe
from optimizer.scores import Scores, score
from optimizer.training.fitting import first_weights, silent, wire
from optimizer.training.training import Lessons, run_training


class ShortTraining:
    """Trains networks briefly: the same windows and draws for all, whatever came before.

    From the labels alone; teachers come in once the network is found.

    Holds nothing but arrays and settings, so that an executor can send it to its workers.

    Attributes:
        classes: Outputs of each network.
        halves: The validation split in two, drawn at random: one steers the search, one decides.
            One pair for each input.
    """

    def __init__(self, recipe: Recipe, inputs: Sequence[Inputs], classes: int) -> None:
        """Draw the windows.

        Args:
            recipe: What to do.
            inputs: The windows as each alternative's steps make them.
            classes: Outputs of each network.

        Raises:
            DataError: If the validation split is too small to be halved.
        """
        assert recipe.search is not None, "asked for"
        if len(inputs[0].validation.y) < 2:
            raise DataError("data", "expected at least 2 validation windows to search with")
        rng = np.random.default_rng(recipe.seed)
        validation = rng.permutation(len(inputs[0].validation.y))
        drawn = rng.permutation(len(inputs[0].train.y))[: recipe.search.windows]
        half = len(validation) // 2
        self.classes = classes
        self.halves = tuple(
            (given.validation.take(validation[:half]), given.validation.take(validation[half:]))
            for given in inputs
        )
        self._seed = recipe.seed
        self._select = recipe.search.select
        self._config = msgspec.structs.replace(recipe.train, epochs=recipe.search.epochs)
        self._training = tuple(given.train.take(drawn) for given in inputs)
        self._calibration = tuple(given.calibration for given in inputs)
        self._held_out = len(validation)
        self._all = (
            tuple(given.train.joined(given.validation) for given in inputs)
            if recipe.search.folds
            else ()
        )

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Length and channels of every input."""
        return tuple((x.shape[1], x.shape[2]) for x in self._calibration)

    def scores(self, candidate: Candidate) -> tuple[float, float]:
        """Train a network; return its scores on the steering and on the deciding half.

        The best epoch is chosen on the steering half, as [train] says.

        Raises:
            ConfigError: If the loss leaves the finite numbers.
        """
        calibration = self._calibration[candidate.input]
        weights = first_weights(candidate.genome, self._seed, calibration)
        engine, config = FastEngine(candidate.genome, weights), self._config
        if candidate.epochs:
            config = msgspec.structs.replace(config, epochs=candidate.epochs)
        training, *halves = self._parts(candidate)
        lessons = Lessons(
            training,
            halves[0],
            wire=wire(config, candidate.point, candidate.encoding, calibration),
        )
        trained = run_training(engine, lessons, config, np.random.default_rng(self._seed), silent)
        steering, deciding = (self._score(engine, half, trained.wire) for half in halves)
        return steering, deciding

    def _parts(self, candidate: Candidate) -> tuple[Labelled, Labelled, Labelled]:
        """Return what to train on, what chooses the epoch, and what decides."""
        if not candidate.fold:
            return self._training[candidate.input], *self.halves[candidate.input]
        windows = self._all[candidate.input]
        rng = np.random.default_rng([self._seed, candidate.fold])
        order = rng.permutation(len(windows.y))
        held_out = windows.take(order[: self._held_out])
        return windows.take(order[self._held_out :]), held_out, held_out

    def constant_score(self, index: int) -> float:
        """Return the steering score of one class for everything, the most frequent one."""
        labels = self.halves[index][0].y
        most = np.bincount(labels).argmax()
        return self._figure(score(labels, np.full_like(labels, most), self.classes))

    def _score(self, engine: FastEngine, half: Labelled, fake: FakeWire | None) -> float:
        given = engine.logits(half.x, fake).argmax(axis=1)
        return self._figure(score(half.y, given, self.classes))

    def _figure(self, scores: Scores) -> float:
        return scores.accuracy if self._select == "accuracy" else scores.macro_f1
