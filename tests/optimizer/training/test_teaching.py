"""Teachers: what they say, how they are sent and kept, and what is refused."""

import io
import pickle
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from headtail.errors import ConfigError
from headtail.tensor import Array
from optimizer.executor.executor import SerialExecutor
from optimizer.fast.engine import FastEngine
from optimizer.inputs import Inputs
from optimizer.labelled import Labelled
from optimizer.progress import Terminal
from optimizer.recipe.recipe import AugmentConfig, NetworkConfig, Recipe, TeacherConfig, TrainConfig
from optimizer.recipe.search import InputConfig, SearchConfig
from optimizer.run_folder import open_run
from optimizer.training.fitting import first_weights
from optimizer.training.teaching import Panel, Teachers, teach_or_restore
from optimizer.training.training import Lessons, run_training, softmax

NETWORK = NetworkConfig((16, 4), (1, 2))
TEACHER = TeacherConfig(NetworkConfig((16, 8, 4), (1, 4, 4)), members=2, share=1.0, epochs=3)
TRAIN = TrainConfig(epochs=2, batch=8, teacher=TEACHER, balance="none")
RECIPE = Recipe("small", "1", "test", NETWORK, seed=4, train=TRAIN)


def waves(count: int, seed: int) -> Labelled:
    """Draw windows of three classes that differ in their mean."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.standard_normal((count, 16, 1)) + y[:, None, None]
    return Labelled(x.astype(np.float32), y)


def splits() -> Inputs:
    """Draw three splits."""
    return Inputs(waves(80, 1), waves(40, 2), waves(40, 3))


def quiet() -> Terminal:
    """Return a reporter that nobody reads."""
    return Terminal(Console(file=io.StringIO()))


def test_panel_says_the_mean_of_its_members() -> None:
    """Each a softmax by hand; sent to another process it says the same."""
    genome, inputs = TEACHER.network.genome(3), splits()
    weights = [first_weights(genome, seed, inputs.calibration) for seed in (1, 2)]
    panel = Panel(genome, weights)
    x = inputs.validation.x
    told = []
    for given in weights:
        powers = np.exp(FastEngine(genome, given).logits(x).astype(np.float64))
        told.append(powers / powers.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(panel(x), (told[0] + told[1]) / 2, atol=1e-6)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(panel))(x), panel(x))


def test_teachers_are_kept_and_not_trained_again(tmp_path: Path) -> None:
    """A run that goes on hears the same from them, bit by bit."""
    folder, inputs = open_run(tmp_path, RECIPE, b""), splits()
    first = teach_or_restore(RECIPE, inputs, 3, SerialExecutor(), folder, quiet())
    again = teach_or_restore(RECIPE, inputs, 3, Refusing(), folder, quiet())
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first(inputs.test.x), again(inputs.test.x))
    alone = Teachers(TRAIN, inputs, 3, RECIPE.seed).panel()
    np.testing.assert_array_equal(alone(inputs.test.x), first(inputs.test.x))


class Refusing(SerialExecutor):
    """Trains nobody."""

    def run(self, evaluate: object, items: object) -> object:
        """Fail."""
        raise AssertionError("trained again")


def test_teacher_hears_the_windows_as_they_were_changed() -> None:
    """What a pass trains on, not what the data hold."""
    inputs, heard = splits(), []

    def teacher(windows: Array) -> Array:
        heard.append(windows.copy())
        return softmax(np.zeros((len(windows), 3), np.float32))

    genome = NETWORK.genome(3)
    engine = FastEngine(genome, first_weights(genome, 1, inputs.calibration))
    config = msgspec.structs.replace(TRAIN, augment=AugmentConfig(noise=0.1))
    lessons = Lessons(inputs.train, inputs.validation, teacher)
    run_training(engine, lessons, config, np.random.default_rng(0), lambda epoch: None)
    assert len(heard) == config.epochs
    for windows in heard:
        changed = windows - inputs.train.x
        assert 0.09 < changed.std() < 0.11
    assert np.abs(heard[0] - heard[1]).max() > 0.1


def test_a_share_of_one_forgets_the_labels() -> None:
    """Taught that all classes are alike, a network comes to say so whatever the labels."""
    inputs = splits()

    def teacher(windows: Array) -> Array:
        return np.full((len(windows), 3), 1 / 3, np.float32)

    genome = NETWORK.genome(3)
    engine = FastEngine(genome, first_weights(genome, 1, inputs.calibration))
    config = msgspec.structs.replace(TRAIN, epochs=60, learning_rate=0.02)
    lessons = Lessons(inputs.train, inputs.validation, teacher)
    told = run_training(engine, lessons, config, np.random.default_rng(0), lambda epoch: None)
    assert told.epochs[-1].loss == pytest.approx(np.log(3), abs=0.05)


def test_teachers_of_another_input_are_refused() -> None:
    """In the recipe, and where a data set's windows are others."""
    other = TeacherConfig(NetworkConfig((32, 8), (1, 4)))
    with pytest.raises(ValueError, match=r"length and channels \(16, 1\), received \(32, 1\)"):
        Recipe("small", "1", "test", NETWORK, train=TrainConfig(teacher=other))
    with pytest.raises(ConfigError, match=r"expected windows .* \(16, 1\), received \(32, 1\)"):
        Teachers(TrainConfig(teacher=other), splits(), 3, 1)


def test_teachers_of_a_search_over_inputs_are_refused() -> None:
    """They would have to be trained for each."""
    search = SearchConfig(inputs=(InputConfig(({"name": "reshape"},)),))
    with pytest.raises(ValueError, match="teachers take one input"):
        Recipe("small", "1", "test", NETWORK, train=TRAIN, search=search)
