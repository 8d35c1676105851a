"""The training stage of a run: done once, its outcome kept in the run's folder."""

from pathlib import Path

import keras
import msgspec
import numpy as np

from headtail.errors import ConfigError
from optimizer.keras_file import read_keras_file, write_keras_file
from optimizer.progress import Reporter
from optimizer.run.task import Task
from optimizer.run_folder import MODEL, TRAINING, RunFolder
from optimizer.scores import score
from optimizer.training.fitting import first_weights, wire
from optimizer.training.keras_engine import KerasEngine, make_deterministic
from optimizer.training.keras_model import build_keras
from optimizer.training.record import TrainingRecord
from optimizer.training.training import Epoch, Lessons, run_training


def train_or_restore(
    task: Task, folder: RunFolder, reporter: Reporter
) -> tuple[keras.Model, TrainingRecord]:
    """Return the trained model and its record, from the folder where a training is finished.

    Raises:
        ConfigError: If the loss leaves the finite numbers, or the folder's model cannot be read.
    """
    record = folder.read_record(TRAINING, TrainingRecord)
    if record is not None:
        reporter.say(f"training finished earlier: epoch {record.best_epoch} is kept")
        return _load(folder.path / MODEL), record
    model, record = _train(task, folder, reporter)
    write_keras_file(model, folder.path / MODEL)
    folder.write_record(TRAINING, record)
    return model, record


def _train(task: Task, folder: RunFolder, reporter: Reporter) -> tuple[keras.Model, TrainingRecord]:
    recipe, candidate, inputs = task.recipe, task.candidate, task.inputs
    seed, total = recipe.seed, recipe.train.epochs
    make_deterministic(seed)
    weights = first_weights(candidate.genome, seed, inputs.calibration)
    model = build_keras(candidate.genome, weights=weights)
    engine = KerasEngine(model)
    cut = wire(recipe.train, candidate.point, candidate.encoding, inputs.calibration)
    lessons = Lessons(inputs.train, inputs.validation, task.teacher, cut)
    folder.append({"event": "training", "seed": seed, "epochs": total})
    with reporter.stage("train") as advance:
        advance(0, total, "compiling")

        def on_epoch(epoch: Epoch) -> None:
            folder.append({"event": "epoch", **msgspec.structs.asdict(epoch)})
            note = (
                f"loss {epoch.loss:.3f}, validation accuracy {epoch.validation_accuracy:.3f},"
                f" macro-F1 {epoch.validation_macro_f1:.3f}"
            )
            advance(epoch.epoch, total, note)

        done = run_training(engine, lessons, recipe.train, np.random.default_rng(seed), on_epoch)
    given = engine.logits(inputs.test.x, done.wire).argmax(axis=1)
    test = score(inputs.test.y, given, engine.classes)
    record = TrainingRecord(
        done.epochs, done.best_epoch, done.validation.confusion.tolist(), test.confusion.tolist()
    )
    return model, record


def _load(path: Path) -> keras.Model:
    try:
        return read_keras_file(path)
    except ConfigError as error:
        raise ConfigError(str(error), "delete the folder to start over") from error
