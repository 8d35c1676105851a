"""Drawings of a training: its curves, the test split's confusions, and the repeats of it."""

from collections.abc import Sequence

import numpy as np

from headtail.tensor import Array
from optimizer.images.config import ImageTrainConfig
from optimizer.recipe.recipe import TrainConfig
from optimizer.report.chart import X_PIXELS, Y_PIXELS, Key, chart, draw_keys
from optimizer.report.svg import EDGE, INK, MUTED, RADIO, Scale, Sheet, scale
from optimizer.training.training import Epoch, merit

CELL = 46.0
SHADES = ((247, 250, 255), (43, 108, 176))  # of no window and of all of a class, RGB


def draw_training(
    epochs: Sequence[Epoch], config: TrainConfig | ImageTrainConfig
) -> dict[str, str]:
    """Draw loss, accuracy and macro-F1 of a training by epoch; SVG texts by name.

    Args:
        epochs: At least one.
        config: How it was trained, and by what the best epoch was chosen.
    """
    best = best_epoch(epochs, config)
    loss = {
        "training": [(e.epoch, e.loss) for e in epochs],
        "validation": [(e.epoch, e.validation_loss) for e in epochs],
    }
    validation = {
        "accuracy": [(e.epoch, 100 * e.validation_accuracy) for e in epochs],
        "macro-F1": [(e.epoch, 100 * e.validation_macro_f1) for e in epochs],
    }
    is_weighted = config.balance in {"weight", "root"}
    name = "loss (training: with class weights)" if is_weighted else "loss"
    return {
        "loss": _curves(loss, best, name, floor=0.0),
        "validation": _curves(validation, best, "validation split, %", floor=None),
    }


def best_epoch(epochs: Sequence[Epoch], config: TrainConfig | ImageTrainConfig) -> int:
    """Return the number of the epoch that [train] keeps: of equally good ones the first."""
    return max(epochs, key=lambda epoch: merit(epoch, config.select)).epoch


def draw_confusion(confusion: Array, labels: Sequence[str]) -> str:
    """Draw a confusion matrix, the share of each true class in colour.

    Args:
        confusion: Windows by true (row) and given class (column), shape (classes, classes).
        labels: Names of the classes.
    """
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    left, top = 24 + 7.5 * max(6, *(len(label) for label in labels)), 46.0
    size = CELL * len(labels)
    sheet = Sheet(left + size + 8, top + size + 8, "confusion matrix of the test split")
    sheet.text((left + size / 2, 14), "given", "middle", fill=MUTED)
    turned = f"rotate(-90 12 {top + size / 2:g})"
    sheet.text((12, top + size / 2), "true", "middle", fill=MUTED, transform=turned)
    for i, label in enumerate(labels):
        middle = CELL * (i + 0.5)
        sheet.text((left - 8, top + middle + 4), label, "end")
        short = label if len(label) < 8 else f"{label[:6]}…"
        sheet.text((left + middle, top - 8), short, "middle")
    for (i, j), share in np.ndenumerate(shares):
        corner = left + CELL * j, top + CELL * i
        hover = (
            f"true {labels[i]}, given {labels[j]}\n{confusion[i, j]} windows,"
            f" {100 * share:.1f} % of the true class"
        )
        sheet.box(corner, (CELL - 2, CELL - 2), _shade(float(share)), hover, rx=2)
        color = "white" if share > 0.55 else INK
        place = corner[0] + CELL / 2 - 1, corner[1] + CELL / 2 + 3
        sheet.text(place, str(confusion[i, j]), "middle", fill=color, pointer_events="none")
    return sheet.svg()


def _curves(
    lines: dict[str, list[tuple[int, float]]], best: int, name: str, floor: float | None
) -> str:
    last = max(epoch for line in lines.values() for epoch, _ in line)
    y = scale([v for line in lines.values() for _, v in line], Y_PIXELS, floor)
    drawn = chart(Scale(0, max(1, last), *X_PIXELS), y, "epoch", name, f"{name} by epoch")
    drawn.limit(best, f"epoch {best} kept")
    colors = dict(zip(lines, (EDGE, RADIO), strict=True))
    for what, line in lines.items():
        drawn.curve(line, colors[what])
    # Few epochs have dots to point at; of many the kept one is enough.
    for what, line in lines.items():
        told = [(e, v) for e, v in line if len(line) <= 40 or e == best]
        drawn.dots([(e, v, f"epoch {e}\n{what} {v:.4g}") for e, v in told], colors[what])
    keys = [Key(what, color) for what, color in colors.items()]
    draw_keys(drawn.sheet, keys, (X_PIXELS[0], 18))
    return drawn.sheet.svg()


def _shade(share: float) -> str:
    parts = [round(a + share * (b - a)) for a, b in zip(*SHADES, strict=True)]
    return "#" + "".join(f"{part:02x}" for part in parts)
