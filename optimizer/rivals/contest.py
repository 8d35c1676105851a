"""The cells of a comparison: made one by one, each on disk before the next begins."""

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import msgspec

from headtail.errors import ConfigError
from optimizer.data.dataset import Dataset, Split
from optimizer.images.costs import count_onnx
from optimizer.images.training import Watch
from optimizer.keras_file import read_keras_file, write_keras_file
from optimizer.keras_onnx import export_keras
from optimizer.progress import Advance, Reporter
from optimizer.recipe.rivals import CRITERIA, RivalsRecipe
from optimizer.rivals.bench import Bench, cpu_seconds
from optimizer.rivals.freezing import MaskRecord, choose_mask, draw_mask, train_masked
from optimizer.rivals.onnx_scores import score_onnx
from optimizer.rivals.pruning import Made, copy_of, prune_by
from optimizer.rivals.quantise import quantise
from optimizer.rivals.record import Cell
from optimizer.run_folder import RunFolder
from optimizer.training.keras_engine import make_deterministic

BASE = "unpruned.keras"
"""The network that all methods of a seed start from."""
MASK = "mask.json"
"""What the evolution of a seed chose."""
FIRST = ("unpruned", "trained_on")


@dataclass(frozen=True, slots=True)
class Models:
    """ONNX files of a cell."""

    before: bytes | None
    after: bytes


def methods_of(recipe: RivalsRecipe) -> tuple[str, ...]:
    """Return all rows in the order in which they are made: some need what others made."""
    asked = recipe.rivals.methods
    late = [m for m in ("random_freeze", "quantise") if m in asked]
    return (*FIRST, *(m for m in asked if m not in late), *late)


class Contest:
    """A folder with a subfolder for each seed, and in it three files for each method."""

    def __init__(self, recipe: RivalsRecipe, dataset: Dataset, folder: RunFolder) -> None:
        """Take what is compared, on what, and where it is kept."""
        self.recipe, self.dataset, self._folder = recipe, dataset, folder

    def make(self, reporter: Reporter) -> None:
        """Make every cell that is not there yet.

        Raises:
            HeadtailError: If a network cannot be trained, pruned or exported.
        """
        missing = [(s, m) for s, m in self._all() if self.read(s, m) is None]
        began = time.monotonic()
        for done, (seed, method) in enumerate(missing):
            left = ""
            if done:
                minutes = (time.monotonic() - began) / done * (len(missing) - done) / 60
                left = f", about {math.ceil(minutes)} min left"
            reporter.say(f"seed {seed}, {method}: {done + 1} of {len(missing)}{left}")
            self._make(seed, method, reporter)

    def read(self, seed: int, method: str) -> Cell | None:
        """Return a cell that is finished; None where it is not."""
        return self._seed(seed).read_record(f"{method}.json", Cell)

    def models(self, seed: int, method: str) -> Models:
        """Return the ONNX files of a finished cell.

        Raises:
            ConfigError: If one cannot be read.
        """
        path = self._seed(seed).path
        try:
            before = path / f"{method}-before.onnx"
            content = before.read_bytes() if before.exists() else None
            return Models(content, (path / f"{method}.onnx").read_bytes())
        except OSError as error:
            raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from error

    def _make(self, seed: int, method: str, reporter: Reporter) -> None:
        bench, folder = Bench(self.recipe, self.dataset, seed), self._seed(seed)
        make_deterministic(seed)
        mask = self._mask(bench, method, reporter)
        with reporter.stage(f"seed {seed}, {method}") as advance:
            if method == "unpruned":
                made = _train(bench, folder, advance)
            elif method == "quantise":
                self._quantise(bench, folder)
                return
            else:
                network = read_keras_file(folder.path / BASE)
                made = _run(bench, network, method, mask, advance)
            before = export_keras(made.before) if made.before is not None else None
            self._keep(folder, method, seed, Models(before, export_keras(made.after)), made)

    def _mask(self, bench: Bench, method: str, reporter: Reporter) -> MaskRecord | None:
        """Return the layers that a method of freezing trains; None for the other methods."""
        folder = self._seed(bench.seed)
        if method == "evolved_freeze":
            network = read_keras_file(folder.path / BASE)
            mask = choose_mask(bench, network, reporter, folder.path / method)
            folder.write_record(MASK, mask)
            return mask
        if method == "random_freeze":
            chosen = folder.read_record(MASK, MaskRecord)
            return draw_mask(bench, read_keras_file(folder.path / BASE), chosen)
        return None

    def _quantise(self, bench: Bench, folder: RunFolder) -> None:
        """Int8 of the network as it was, and of the one trained on with the budget."""
        plain = self.models(bench.seed, "unpruned").after
        trained = self.models(bench.seed, "trained_on").after
        cell = self.read(bench.seed, "trained_on")
        assert cell is not None, "made before"
        began = cpu_seconds()
        images = [x for x, _ in bench.calibration_batches()]
        models = Models(quantise(plain, images), quantise(trained, images))
        seconds = (cpu_seconds() - began) / 2
        counted = count_onnx(trained)
        self._write(
            folder,
            Cell(
                method="quantise",
                seed=bench.seed,
                macs=counted.macs,
                parameters=counted.parameters,
                onnx_bytes=len(models.after),
                validation_before=accuracy_of(models.before, self.dataset.validation),
                validation=score_onnx(models.after, self.dataset.validation).accuracy,
                training_s=cell.training_s,
                choosing_s=seconds,
                epochs=cell.epochs,
                note="the network as it was trained, then the one trained on",
            ),
            models,
        )

    def _keep(self, folder: RunFolder, method: str, seed: int, models: Models, made: Made) -> None:
        counted = count_onnx(models.after)
        cell = Cell(
            method=method,
            seed=seed,
            macs=counted.macs,
            parameters=counted.parameters,
            onnx_bytes=counted.onnx_bytes,
            validation_before=accuracy_of(models.before, self.dataset.validation),
            validation=score_onnx(models.after, self.dataset.validation).accuracy,
            training_s=made.training_s,
            choosing_s=made.choosing_s,
            epochs=made.epochs,
            note=made.note,
        )
        self._write(folder, cell, models)

    def _write(self, folder: RunFolder, cell: Cell, models: Models) -> None:
        """Write the models, and last the record, which says that they are there."""
        if models.before is not None:
            folder.write(f"{cell.method}-before.onnx", models.before)
        folder.write(f"{cell.method}.onnx", models.after)
        folder.write_record(f"{cell.method}.json", cell)

    def _all(self) -> Iterator[tuple[int, str]]:
        return ((seed, method) for seed in self.recipe.seeds for method in methods_of(self.recipe))

    def _seed(self, seed: int) -> RunFolder:
        return RunFolder(self._folder.path / f"seed-{seed}")


def _train(bench: Bench, folder: RunFolder, advance: Advance) -> Made:
    """Train the network that all methods start from, resumable epoch by epoch."""
    checkpoint = folder.path / "training.npz"
    model, seconds = bench.train_network(Watch(advance, checkpoint, cpu_seconds))
    write_keras_file(model, folder.path / BASE)
    checkpoint.unlink(missing_ok=True)
    return Made(None, model, seconds, 0.0, bench.recipe.train.epochs, "")


def _run(
    bench: Bench, network: keras.Model, method: str, mask: MaskRecord | None, advance: Advance
) -> Made:
    if mask is not None:
        return train_masked(bench, network, mask, advance)
    if method == "trained_on":
        model, epochs = copy_of(network), bench.config.fine_tune.epochs
        seconds = bench.fine_tune(model, epochs, advance, network)
        return Made(None, model, seconds, 0.0, epochs, "")
    (criterion,) = (c for c in CRITERIA if c == method)
    return prune_by(bench, network, criterion, advance)


def accuracy_of(content: bytes | None, split: Split) -> float | None:
    """Return the accuracy of a model on a split, None where there is no model."""
    return None if content is None else score_onnx(content, split).accuracy


def digest_of(recipe: RivalsRecipe) -> str:
    """Return what tells whether a folder is of this recipe."""
    return hashlib.sha256(msgspec.json.encode(recipe)).hexdigest()
