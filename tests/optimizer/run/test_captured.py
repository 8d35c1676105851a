"""Captured inputs in a run: calibration and training get them, validation and test never do."""

import io

import numpy as np
import pytest
from captured_case import shard_of, write
from rich.console import Console
from run_case import bumps, write_recipe

from headtail.bundle.manifest import Step
from headtail.captured import window_id
from headtail.errors import ConfigError, DataError
from optimizer.data.load import load
from optimizer.inputs import CALIBRATION_WINDOWS, build_every_input
from optimizer.progress import Terminal
from optimizer.recipe.recipe import describe_recipe, read_recipe
from optimizer.report.captured import captured_text
from optimizer.run.captured import take_or_restore
from optimizer.run_folder import open_run

STEPS = (Step("reshape", {"shape": [32, 1]}),)
COUNT = 300


@pytest.fixture
def seen():
    """Return windows that agents saw, as the network takes them, and their classes."""
    x, y = bumps(COUNT, np.random.default_rng(9))
    return x.reshape(-1, 32, 1) * 2, y


@pytest.fixture
def field(seen, tmp_path):
    """Return a recipe's section for these windows, the first hundred labelled."""
    x, y = seen
    write(tmp_path / "captured" / "bumps" / "1.npz", shard_of(x, STEPS))
    (tmp_path / "labels").mkdir()
    rows = [f"{window_id([w])},{c}\n" for w, c in zip(x[:100], y[:100], strict=True)]
    (tmp_path / "labels" / "all.csv").write_text("id,label\n" + "".join(rows))
    return f'[field]\ncaptured = "{tmp_path / "captured"}"\nlabels = "{tmp_path / "labels"}"\n'


class Job:
    """A run up to its training."""

    def __init__(self, folder, more):
        """Read the recipe, load the data, open the folder."""
        self.path = write_recipe(folder, more)
        self.recipe = read_recipe(self.path)
        self.dataset = load(self.recipe.data)
        self.inputs = build_every_input(self.dataset, self.recipe)
        self.out = folder / "out"
        self.shown = io.StringIO()

    def take(self):
        """Return the data set and the inputs with what was captured."""
        folder = open_run(self.out, self.recipe, self.path.read_bytes())
        terminal = Terminal(Console(file=self.shown, width=200))
        return take_or_restore(self.recipe, self.dataset, self.inputs, folder, terminal)


def test_labelled_windows_are_trained_on_and_all_calibrate(field, seen, tmp_path):
    x, y = seen
    job = Job(tmp_path, field)
    dataset, (inputs,) = job.take()
    (before,) = job.inputs
    assert (before.validation, before.test) == (inputs.validation, inputs.test)
    added = inputs.train.take(np.arange(len(before.train.y), len(inputs.train.y)))
    assert {w.tobytes(): c for w, c in zip(x[:100], y[:100], strict=True)} == {
        w.tobytes(): c for w, c in zip(added.x, added.y, strict=True)
    }
    own = {w.tobytes() for w in x}
    calibration = inputs.calibration
    assert len(calibration) == min(CALIBRATION_WINDOWS, len(calibration))
    assert CALIBRATION_WINDOWS // 2 == sum(
        w.tobytes() in own for w in calibration[-CALIBRATION_WINDOWS // 2 :]
    )
    note = dataset.lineage["captured"]
    assert (300, 100) == (note["windows"], note["labelled"])
    assert "300 windows, 100 of them labelled" in job.shown.getvalue()
    assert "seen by 3 agents with bumps 1, 2023-11-14 to 2023-11-14" in captured_text(
        dataset.lineage
    )
    described = describe_recipe(job.recipe)["field"]
    assert not {"captured", "labels"} & described.keys()


def test_windows_of_validation_and_test_are_left_out(field, tmp_path):
    """An agent may replay the very records that the network is judged by."""
    job = Job(tmp_path, field)
    (before,) = job.inputs
    held_out = np.concatenate([before.validation.x[:7], before.test.x[:5]])
    write(tmp_path / "captured" / "2.npz", shard_of(held_out, STEPS))
    dataset, (inputs,) = job.take()
    note = dataset.lineage["captured"]
    assert (300, {"in the validation or test split": 12}) == (note["windows"], note["left_out"])
    assert len(before.train.y) + 100 == len(inputs.train.y)
    trained = {w.tobytes() for w in inputs.train.x} | {w.tobytes() for w in inputs.captured.x}
    assert not trained & {w.tobytes() for w in held_out}


def test_a_run_that_resumes_keeps_what_it_read(field, tmp_path):
    """The fog goes on capturing, the labels change: the run does not."""
    job = Job(tmp_path, field)
    first, (before,) = job.take()
    write(tmp_path / "captured" / "2.npz", shard_of(np.ones((5, 32, 1), np.float32), STEPS))
    (tmp_path / "labels" / "all.csv").unlink()
    second, (after,) = job.take()
    assert first.lineage == second.lineage
    assert before.train.x.tobytes() == after.train.x.tobytes()
    (job.out / "captured.npz").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="delete the folder to start over"):
        job.take()


def test_each_input_gets_the_windows_that_its_steps_made(field, tmp_path):
    """A search may offer others; captured windows are past all steps."""
    half = (
        "kernels = [1, 2, 1]\n[search]\nchannels = [1, 2]\nlengths = [0, 16]\n"
        "population = 6\ngenerations = 2\n[[search.inputs]]\n[[search.inputs.preprocess]]\n"
        'name = "interpolate"\nparameters = { length = 8 }\n[[search.inputs.preprocess]]\n'
        'name = "reshape"\nparameters = { shape = [8, 1] }\n'
    )
    job = Job(tmp_path, half + field)
    _, (own, other) = job.take()
    assert 300 == len(own.captured.y)
    assert other.captured is None
    assert len(job.inputs[1].train.y) == len(other.train.y)


def test_nothing_of_use_changes_nothing(tmp_path):
    """An empty folder: said, and the inputs are as they were."""
    (tmp_path / "captured").mkdir()
    job = Job(tmp_path, f'[field]\ncaptured = "{tmp_path / "captured"}"\n')
    dataset, inputs = job.take()
    assert inputs == job.inputs
    assert "0 windows, 0 of them labelled" == captured_text(dataset.lineage)


def test_a_missing_folder_ends_the_run(tmp_path):
    job = Job(tmp_path, f'[field]\ncaptured = "{tmp_path / "none"}"\n')
    with pytest.raises(DataError, match="expected a folder of captured windows"):
        job.take()


def test_without_the_section_nothing_is_read(tmp_path):
    job = Job(tmp_path, "")
    dataset, inputs = job.take()
    assert dataset is job.dataset
    assert inputs is job.inputs
    assert captured_text(dataset.lineage) is None
