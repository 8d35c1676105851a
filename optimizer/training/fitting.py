"""Training a network of the family as a recipe says, with the compiled engine."""

from collections.abc import Callable

import numpy as np

from headtail.tensor import Array
from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.fast.engine import FastEngine
from optimizer.fast.weights import Weights, glorot, initialise
from optimizer.inputs import Inputs
from optimizer.network import Genome
from optimizer.recipe.recipe import TrainConfig
from optimizer.scores import Scores, score
from optimizer.training.training import Epoch, Lessons, Teacher, Trained, Wire, run_training


def silent(epoch: Epoch) -> None:
    """Tell nobody of a pass."""


def first_weights(genome: Genome, seed: int, calibration: Array) -> Weights:
    """Return the weights that every training of a network begins with."""
    return initialise(genome, glorot(genome, seed), calibration)


def wire(config: TrainConfig, point: int, encoding: Encoding, calibration: Array) -> Wire | None:
    """Return the wire that a network is trained for, None where [train] does not ask for it."""
    return Wire(point, encoding, calibration) if config.quantise else None


def fit(
    candidate: Candidate,
    inputs: Inputs,
    teacher: Teacher | None,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None] = silent,
) -> tuple[FastEngine, Trained]:
    """Train a network on the training split, the epoch chosen on the validation split.

    Args:
        candidate: The network, where it is cut and how its activation travels.
        inputs: The splits as the network takes them.
        teacher: Whom to learn from besides the labels.
        config: How.
        seed: Draws the first weights, the order of the windows and their augmentation.
        on_epoch: Told after every pass.

    Raises:
        ConfigError: If the loss leaves the finite numbers.
    """
    calibration = inputs.calibration
    engine = FastEngine(candidate.genome, first_weights(candidate.genome, seed, calibration))
    lessons = Lessons(
        inputs.train,
        inputs.validation,
        teacher,
        wire(config, candidate.point, candidate.encoding, calibration),
    )
    return engine, run_training(engine, lessons, config, np.random.default_rng(seed), on_epoch)


def fit_and_test(
    candidate: Candidate, inputs: Inputs, teacher: Teacher | None, config: TrainConfig, seed: int
) -> tuple[Scores, Scores]:
    """Train a network; return its scores on the validation split and, looked at once, the test's.

    The activation is quantised on its way where [train] asks for it.
    """
    engine, trained = fit(candidate, inputs, teacher, config, seed)
    given = engine.logits(inputs.test.x, trained.wire).argmax(axis=1)
    return trained.validation, score(inputs.test.y, given, engine.classes)
