"""From cells to rows: means and standard deviations over the seeds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from optimizer.images.energy import load_power, predict_training_j
from optimizer.rivals.contest import Contest, methods_of
from optimizer.rivals.record import (
    Cell,
    RivalRow,
    RivalsRecord,
    Statistic,
    Tested,
    TestedRecord,
    TimedRecord,
)

NAMES = {
    "unpruned": "unpruned",
    "trained_on": "unpruned, trained on",
    "gradcam": "Grad-CAM (ToSiM-IoT)",
    "l1": "L1 norm",
    "l2": "L2 norm",
    "lasso": "group lasso",
    "taylor": "Taylor",
    "gamma": "BatchNorm gamma",
    "random": "random channels",
    "evolved_freeze": "layers frozen by evolution",
    "random_freeze": "layers frozen at random",
    "quantise": "int8 after training",
}


def statistic(values: Iterable[float]) -> Statistic:
    """Return mean and standard deviation of a sample."""
    known = np.array(list(values), float)
    return Statistic(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else None)


def summarise(contest: Contest, timed: TimedRecord, tested: TestedRecord | None) -> RivalsRecord:
    """Return the table of finished cells: of the test images, or else of the validation images.

    Raises:
        ConfigError: If there is no such power.
    """
    recipe, dataset = contest.recipe, contest.dataset
    power = load_power(recipe.rivals.power)
    cells: dict[str, list[Cell]] = {}
    for method in methods_of(recipe):
        found = [contest.read(seed, method) for seed in recipe.seeds]
        cells[method] = [cell for cell in found if cell is not None]
    seen = {(t.method, t.seed): t for t in tested.cells} if tested else {}
    scored = {m: [_scored(c, seen.get((m, c.seed))) for c in row] for m, row in cells.items()}
    view = _View(
        split="test" if tested else "validation",
        scored=scored,
        ratios={(t.method, t.seed): t.ratio for t in timed.cells},
        price=lambda seconds: predict_training_j(power, seconds),
    )
    rows = tuple(_row(row, view) for row in cells.values())
    return RivalsRecord(
        name=recipe.name,
        data=dataset.name,
        seeds=recipe.seeds,
        images=len(dataset.test if tested else dataset.validation),
        macs_share=recipe.rivals.macs_share,
        epochs=recipe.rivals.fine_tune.epochs,
        power_w=power.si,
        power_source=f"{recipe.rivals.power}: {power.source}",
        rows=rows,
    )


@dataclass(frozen=True, slots=True)
class _View:
    """What rows are made from besides their cells."""

    split: Literal["test", "validation"]
    scored: dict[str, list[tuple[float | None, float]]]
    """By method, for each seed: accuracies ahead of the last training and in the end."""
    ratios: dict[tuple[str, int], float]
    """Of latency, by method and seed."""
    price: Callable[[float], float]
    """Joules of so many seconds."""


def _row(row: list[Cell], view: _View) -> RivalRow:
    method, scored = row[0].method, view.scored
    befores = [before for before, _ in scored[method] if before is not None]
    afters = [after for _, after in scored[method]]
    losses = {
        name: [base[1] - after for base, after in zip(scored[name], afters, strict=True)]
        for name in ("unpruned", "trained_on")
    }
    return RivalRow(
        method=method,
        name=NAMES[method],
        split=view.split,
        before=statistic(befores) if befores else None,
        accuracy=statistic(afters),
        loss=statistic(losses["unpruned"]),
        loss_trained_on=None if method == "unpruned" else statistic(losses["trained_on"]),
        macs=statistic(c.macs for c in row),
        parameters=statistic(c.parameters for c in row),
        onnx_bytes=statistic(c.onnx_bytes for c in row),
        latency_ratio=statistic(view.ratios[method, c.seed] for c in row),
        training_s=statistic(c.training_s for c in row),
        choosing_s=statistic(c.choosing_s for c in row),
        energy_j=statistic(view.price(c.training_s + c.choosing_s) for c in row),
        notes=tuple(c.note for c in row),
    )


def _scored(cell: Cell, tested: Tested | None) -> tuple[float | None, float]:
    """Return the accuracies ahead of the last training and in the end."""
    if tested is None:
        return cell.validation_before, cell.validation
    return tested.before, tested.accuracy
