"""Teachers: larger networks of the family that a run trains first and learns from."""

import msgspec
import numpy as np

from headtail.tensor import Array
from headtail.wire import Encoding
from optimizer.data.dataset import Dataset
from optimizer.executor import Executor
from optimizer.fitting import fit
from optimizer.individual import Candidate
from optimizer.progress import Reporter
from optimizer.recipe import Recipe, TeacherConfig, TrainConfig
from optimizer.run_folder import RunFolder
from optimizer.run_inputs import Inputs, build_inputs
from optimizer.training import softmax

TAUGHT = "teachers.npz"


class Teachers:
    """Trains teachers; holds nothing but arrays and settings, so that workers can be sent it."""

    def __init__(self, config: TrainConfig, inputs: Inputs, classes: int, seed: int) -> None:
        """Take what the teachers learn from.

        Args:
            config: Section [train] with its [train.teacher].
            inputs: The splits as the teachers take them.
            classes: Outputs of each teacher.
            seed: Draws the first teacher's weights; each further one has the next seed.
        """
        assert config.teacher is not None, "asked for"
        teacher = config.teacher
        self.members = teacher.members
        self._inputs = inputs
        self._genome = teacher.network.genome(classes)
        self._seed = seed
        self._config = msgspec.structs.replace(
            config, epochs=teacher.epochs or config.epochs, teacher=None, quantise=False
        )

    def shares(self, member: int) -> Array:
        """Train one; return what it says of the training windows, float32, shape (N, classes).

        Raises:
            ConfigError: If the loss leaves the finite numbers.
        """
        # Where it would be cut is of no account to a network that never leaves.
        network = Candidate(self._genome, 0, 0, Encoding.FLOAT32)
        engine, _ = fit(network, self._inputs, None, self._config, self._seed + member)
        return softmax(engine.logits(self._inputs.train.x))

    def mean_shares(self) -> Array:
        """Train all, one after another; return the mean of what they say."""
        return _mean({member: self.shares(member) for member in range(self.members)})


def teacher_inputs(dataset: Dataset, recipe: Recipe, teacher: TeacherConfig) -> Inputs:
    """Return a data set's splits as the teachers take them.

    Raises:
        DataError: If a window cannot be brought to the teachers' input.
    """
    steps = recipe.preprocess if teacher.preprocess is None else teacher.preprocess
    return build_inputs(
        dataset, msgspec.structs.replace(recipe, preprocess=steps, network=teacher.network)
    )


def teach_or_restore(
    recipe: Recipe, dataset: Dataset, executor: Executor, folder: RunFolder, reporter: Reporter
) -> Array | None:
    """Return what the recipe's teachers say of the training windows, None where it has none.

    Kept in the run's folder: a run that goes on does not train them again.

    Raises:
        DataError: If a window cannot be brought to the teachers' input.
        ConfigError: If a loss leaves the finite numbers.
    """
    teacher = recipe.train.teacher
    if teacher is None:
        return None
    path = folder.path / TAUGHT
    if path.exists():
        with np.load(path) as kept:
            return np.asarray(kept["shares"])
    inputs = teacher_inputs(dataset, recipe, teacher)
    teachers = Teachers(recipe.train, inputs, len(dataset.labels), recipe.seed)
    told: dict[int, Array] = {}
    with reporter.stage("train the teachers") as advance:
        advance(0, teachers.members, "")
        for member, shares in executor.run(teachers.shares, range(teachers.members)):
            told[member] = shares
            advance(len(told), teachers.members, "")
    shares = _mean(told)
    folder.write_with(TAUGHT, lambda path: np.savez_compressed(path, shares=shares))
    return shares


def _mean(told: dict[int, Array]) -> Array:
    """Return the mean in the members' order, so that it is the same whoever was first."""
    return np.asarray(np.mean([told[m] for m in sorted(told)], axis=0), np.float32)
