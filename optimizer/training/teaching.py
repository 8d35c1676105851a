"""Teachers: larger networks of the family that a run trains first and learns from."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from headtail.errors import ConfigError
from headtail.tensor import Array
from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.executor.executor import Executor
from optimizer.fast.engine import FastEngine
from optimizer.fast.weights import Weights
from optimizer.inputs import Inputs
from optimizer.network import Genome
from optimizer.progress import Reporter
from optimizer.recipe.recipe import Recipe, TrainConfig
from optimizer.run_folder import RunFolder
from optimizer.training.fitting import fit
from optimizer.training.training import softmax

TEACHERS = "teachers.npz"


class Panel:
    """Trained teachers; asked as a function of windows, so that a training can ask on every pass.

    Holds nothing but arrays, so that workers can be sent it.
    """

    def __init__(self, genome: Genome, members: Sequence[Weights]) -> None:
        """Take the weights of each teacher, in Keras' shapes."""
        self.genome = genome
        self._engines = tuple(FastEngine(genome, weights) for weights in members)

    def __call__(self, windows: Array) -> Array:
        """Return the mean of what they say of windows, float32, shape (N, classes)."""
        told = [softmax(engine.logits(windows)) for engine in self._engines]
        return np.asarray(np.mean(told, axis=0), np.float32)

    def takes(self, inputs: Inputs) -> bool:
        """Say whether windows of this shape are what they learned from."""
        return inputs.shape == (self.genome.lengths[0], self.genome.channels[0])


class Teachers:
    """Trains teachers; holds nothing but arrays and settings, so that workers can be sent it."""

    def __init__(self, config: TrainConfig, inputs: Inputs, classes: int, seed: int) -> None:
        """Take what the teachers learn from.

        Args:
            config: Section [train] with its [train.teacher].
            inputs: The splits as the network takes them.
            classes: Outputs of each teacher.
            seed: Draws the first teacher's weights; each further one has the next seed.

        Raises:
            ConfigError: If the teachers take other windows than the network.
        """
        assert config.teacher is not None, "asked for"
        teacher = config.teacher
        self.members = teacher.members
        self.genome = teacher.network.genome(classes)
        self._inputs = inputs
        self._seed = seed
        self._config = msgspec.structs.replace(
            config, epochs=teacher.epochs or config.epochs, teacher=None, quantise=False
        )
        taken = self.genome.lengths[0], self.genome.channels[0]
        if taken != inputs.shape:
            raise ConfigError(
                "[train.teacher.network]",
                f"expected windows of the network's shape {inputs.shape}, received {taken}",
            )

    def train(self, member: int) -> Weights:
        """Train one; return its weights.

        Raises:
            ConfigError: If the loss leaves the finite numbers.
        """
        # Where it would be cut is of no account to a network that never leaves.
        network = Candidate(self.genome, 0, 0, Encoding.FLOAT32)
        engine, _ = fit(network, self._inputs, None, self._config, self._seed + member)
        return engine.get_weights()

    def panel(self) -> Panel:
        """Train all, one after another."""
        return Panel(self.genome, [self.train(member) for member in range(self.members)])


def teach_or_restore(
    recipe: Recipe,
    inputs: Inputs,
    classes: int,
    executor: Executor,
    folder: RunFolder,
    reporter: Reporter,
) -> Panel | None:
    """Return the recipe's teachers, None where it has none.

    Kept in the run's folder: a run that goes on does not train them again.

    Raises:
        ConfigError: If they take other windows than the network, or a loss leaves the finite
            numbers.
    """
    if recipe.train.teacher is None:
        return None
    teachers = Teachers(recipe.train, inputs, classes, recipe.seed)
    path = folder.path / TEACHERS
    if path.exists():
        return Panel(teachers.genome, _read(path, teachers.members))
    made: dict[int, Weights] = {}
    with reporter.stage("train the teachers") as advance:
        advance(0, teachers.members, "")
        for member, weights in executor.run(teachers.train, range(teachers.members)):
            made[member] = weights
            advance(len(made), teachers.members, "")
    arrays = {f"{m}/{i}": array for m, weights in made.items() for i, array in enumerate(weights)}
    folder.write_arrays(TEACHERS, arrays)
    # In the members' order, so that the mean is the same whoever was first.
    return Panel(teachers.genome, [made[member] for member in sorted(made)])


def _read(path: Path, members: int) -> list[Weights]:
    with np.load(path) as kept:
        counts = [sum(name.startswith(f"{m}/") for name in kept) for m in range(members)]
        return [[kept[f"{m}/{i}"] for i in range(count)] for m, count in enumerate(counts)]
