"""The statistics of a run: its network trained again with other seeds and on other splits."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from optimizer.candidate import Candidate
from optimizer.data.load import load
from optimizer.executor.executor import Executor
from optimizer.inputs import Inputs, build_inputs, with_captured
from optimizer.progress import Reporter
from optimizer.recipe.recipe import Recipe, StatisticsConfig
from optimizer.run.task import Task
from optimizer.run_folder import RunFolder
from optimizer.training.fitting import fit_and_test
from optimizer.training.repeats import Kind, Repeat, StatisticsRecord
from optimizer.training.teaching import Panel, Teachers

STATISTICS = "statistics.json"


@dataclass(frozen=True, slots=True)
class _Split:
    """One split of the data, with its teachers or those who are yet to be trained."""

    inputs: Inputs
    untrained: Teachers | None
    teacher: Panel | None


class _Repeats:
    """Makes repeats; holds nothing but arrays and settings, so that workers can be sent it."""

    def __init__(self, recipe: Recipe, candidate: Candidate, splits: Sequence[_Split]) -> None:
        self._config = recipe.train
        self._candidate = candidate
        self._splits = tuple(splits)

    def make(self, item: tuple[Kind, int, int, int]) -> Repeat:
        """Make one of (what differs, seed, seed of the split, number of the split)."""
        kind, seed, split_seed, number = item
        split = self._splits[number]
        teacher = split.teacher
        if split.untrained is not None:
            teacher = split.untrained.panel()
        tested = fit_and_test(self._candidate, split.inputs, teacher, self._config, seed)
        validation, test = (scores.confusion.tolist() for scores in tested)
        return Repeat(kind, seed, split_seed, validation, test)


def repeat_or_restore(
    task: Task, executor: Executor, folder: RunFolder, reporter: Reporter
) -> StatisticsRecord:
    """Train the network again with other seeds and on other splits, as [statistics] says.

    On the run's own split the seeds are the recipe's and those after it, and its teachers are those
    of the run. Further splits have the data's seed and those after it; all that was chosen, the
    network included, was chosen on the run's own, and teachers are trained anew on each.

    Args:
        task: The network and the run's own split; its recipe holds what a search found.
        executor: Where the trainings run.
        folder: The run's.
        reporter: Told of the stage.

    Raises:
        DataError: If the data cannot be split anew.
        ConfigError: If a loss leaves the finite numbers.
    """
    record = folder.read_record(STATISTICS, StatisticsRecord)
    if record is None:
        began = time.monotonic()
        recipe, config = task.recipe, task.recipe.statistics
        assert config is not None, "asked for"
        with reporter.stage("repeat with other seeds and splits") as advance:
            splits = [_Split(task.inputs, None, task.teacher)]
            items: list[tuple[Kind, int, int, int]] = [
                ("seed", recipe.seed + i, recipe.data.seed, 0) for i in range(config.seeds)
            ]
            for i in range(1, config.splits + 1):
                splits.append(_another(task, i))
                items.append(("split", recipe.seed, recipe.data.seed + i, i))
                advance(0, len(items), f"splitting the data, {i} of {config.splits}")
            repeats = _Repeats(recipe, task.candidate, splits)
            made: dict[int, Repeat] = {}
            advance(0, len(items), "")
            for index, repeat in executor.run(repeats.make, items):
                made[index] = repeat
                advance(len(made), len(items), "")
        told = tuple(made[i] for i in range(len(items)))
        record = StatisticsRecord(told, time.monotonic() - began, _protocol(recipe, config))
        folder.write_record(STATISTICS, record)
    reporter.say(f"repeated: {record}")
    return record


def _another(task: Task, number: int) -> _Split:
    recipe = task.recipe
    data = msgspec.structs.replace(recipe.data, seed=recipe.data.seed + number)
    dataset = load(data)
    inputs = with_captured(build_inputs(dataset, recipe), task.inputs.captured)
    untrained = None
    if recipe.train.teacher is not None:
        untrained = Teachers(recipe.train, inputs, len(dataset.labels), recipe.seed)
    return _Split(inputs, untrained, None)


def _protocol(recipe: Recipe, config: StatisticsConfig) -> str:
    kept = "each epoch chosen on the validation split"
    if recipe.train.select == "last":
        kept = "the last epoch kept"
    text = (
        f"{config.seeds} trainings on the run's own split, each with a seed of its own, and one on"
        f" each of {config.splits} further splits with the same network; {kept},"
        " each test split looked at once a training"
    )
    return f"{text}; the activation quantised on its way" if recipe.train.quantise else text
