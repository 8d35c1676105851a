"""The captured inputs of a run: read once, and kept in its folder, so that it resumes with them."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np

from headtail.errors import ConfigError
from optimizer.data.captured import Captured, Wanted, fingerprint, read_captured
from optimizer.data.dataset import Dataset, Labels, expand
from optimizer.inputs import Inputs, with_captured
from optimizer.labelled import Labelled
from optimizer.progress import Reporter
from optimizer.recipe.recipe import Recipe
from optimizer.report.captured import NOTE
from optimizer.run_folder import RunFolder

RECORD, ARRAYS = "captured.json", "captured.npz"


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found for each of the recipe's inputs, in their order."""

    found: tuple[Captured, ...]


def take_or_restore(
    recipe: Recipe,
    dataset: Dataset,
    inputs: tuple[Inputs, ...],
    folder: RunFolder,
    reporter: Reporter,
) -> tuple[Dataset, tuple[Inputs, ...]]:
    """Add the inputs that [field] names: to calibration, and the labelled ones to training.

    Windows are the network's inputs already, so each of the recipe's inputs gets those that its own
    steps made.

    Args:
        recipe: Names the folders, if any.
        dataset: What the run learns from; it is returned with a note on what was added.
        inputs: Of the recipe, then those of [[search.inputs]].
        folder: Keeps what was read.
        reporter: Told of the stage.

    Raises:
        DataError: If a folder is missing or a file of labels is wrong.
        ConfigError: If what an earlier start read is damaged.
    """
    field = recipe.field
    if field is None or not field.captured:
        return dataset, inputs
    with reporter.stage("take captured inputs"):
        record = folder.read_record(RECORD, _Record)
        if record is None:
            record = _take(recipe, dataset, inputs, folder)
        parts = _read(folder.path / ARRAYS, record)
        joined = tuple(with_captured(i, part) for i, part in zip(inputs, parts, strict=True))
    found = _used(record.found[0], parts[0], joined[0], dataset.labels)
    reporter.say(f"captured inputs: {found}")
    notes = {**dataset.notes, NOTE: msgspec.to_builtins(found)}
    return dataclasses.replace(dataset, notes=notes), joined


def _take(
    recipe: Recipe, dataset: Dataset, inputs: tuple[Inputs, ...], folder: RunFolder
) -> _Record:
    """Read the folders, and write down what they held."""
    assert recipe.field is not None, "asked for"
    captured = expand(recipe.field.captured)
    labels = expand(recipe.field.labels) if recipe.field.labels else None
    arrays, found = {}, []
    for number, own in enumerate(inputs):
        steps = (*dataset.steps, *recipe.steps(number))
        wanted = Wanted(steps, own.train.x.shape[1:], dataset.labels)
        arrays[f"x{number}"], arrays[f"y{number}"], one = read_captured(captured, labels, wanted)
        found.append(one)
    record = _Record(tuple(found))
    folder.write_arrays(ARRAYS, arrays)
    folder.write_record(RECORD, record)
    return record


def _read(path: Path, record: _Record) -> list[Labelled]:
    """Read the windows again, and hold them against the record."""
    parts = []
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            for number, found in enumerate(record.found):
                part = Labelled(arrays[f"x{number}"], arrays[f"y{number}"])
                if fingerprint(part.x, part.y) != found.fingerprint:
                    raise ValueError("its windows are not those of the record")
                parts.append(part)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ConfigError(
            f"{path}: {error}", "cannot be read; delete the folder to start over"
        ) from error
    return parts


def _used(found: Captured, part: Labelled, joined: Inputs, labels: tuple[str, ...]) -> Captured:
    """Return what was found without the windows that are in the validation or test split."""
    used = joined.captured
    y: Labels = part.y[:0] if used is None else used.y
    held_out = len(part.y) - len(y)
    if not held_out:
        return found
    number = np.bincount(y[y >= 0], minlength=len(labels))
    return msgspec.structs.replace(
        found,
        windows=len(y),
        labelled=int((y >= 0).sum()),
        counts={name: int(n) for name, n in zip(labels, number, strict=True)},
        fingerprint=fingerprint(part.x[:0] if used is None else used.x, y),
        left_out={**found.left_out, "in the validation or test split": held_out},
    )
