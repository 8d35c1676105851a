"""The repeats of a training with other seeds and on other splits: a drawing and a table."""

from collections.abc import Mapping, Sequence

import numpy as np

from optimizer.report.chart import X_PIXELS, Y_PIXELS, chart
from optimizer.report.svg import EDGE, MUTED, Scale, scale
from optimizer.report.tables import Table
from optimizer.scores import Scores
from optimizer.training.repeats import Repeat, StatisticsRecord

KINDS = {"seed": "other seeds, the run's split", "split": "other splits"}
COLUMN, DOTS = 42.0, 56.0  # half the width of a column's band, the width its dots take


def draw_repeats(record: StatisticsRecord) -> dict[str, str]:
    """Draw test accuracy and macro-F1 of every repeat; SVG texts by name."""
    return {
        "repeats_accuracy": _draw(record, "accuracy"),
        "repeats_macro_f1": _draw(record, "macro-F1"),
    }


def repeats_table(record: StatisticsRecord) -> Table:
    """Return mean and standard deviation of each kind of repeat, and the range."""
    rows = []
    for kind, repeats in _by_kind(record).items():
        figures = record.figures(repeats[0].kind)
        assert figures is not None, "there are repeats of it"
        accuracies = [100 * _scores(repeat).accuracy for repeat in repeats]
        rows.append(
            [
                kind,
                str(figures.count),
                f"{100 * figures.accuracy_mean:.1f} ± {100 * figures.accuracy_std:.1f} %",
                f"{min(accuracies):.1f} to {max(accuracies):.1f} %",
                f"{figures.macro_f1_mean:.3f} ± {figures.macro_f1_std:.3f}",
                ", ".join(str(r.seed if r.kind == "seed" else r.split) for r in repeats),
            ]
        )
    head = ["repeated with", "trainings", "accuracy", "range", "macro-F1", "seeds drawn with"]
    return Table("repeats", head, rows)


def _draw(record: StatisticsRecord, name: str) -> str:
    columns = {
        kind: [(100 * _figure(repeat, name), _describe(repeat)) for repeat in repeats]
        for kind, repeats in _by_kind(record).items()
    }
    flat = [value for column in columns.values() for value, _ in column]
    title = f"{name} on the test split, %"
    x = Scale(0, len(columns), *X_PIXELS)
    drawn = chart(x, scale(flat, Y_PIXELS), "", title, f"{title}: every repeat", x_ticks=False)
    for i, (kind, column) in enumerate(columns.items()):
        middle = x(i + 0.5)
        known = np.asarray([value for value, _ in column])
        mean, spread = float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else 0.0
        high = drawn.y(min(drawn.y.high, mean + spread))
        low = drawn.y(max(drawn.y.low, mean - spread))
        band = (middle - COLUMN, high), (2 * COLUMN, low - high)
        drawn.sheet.box(*band, EDGE, fill_opacity=0.1)
        level = drawn.y(mean)
        drawn.sheet.path([(middle - COLUMN, level), (middle + COLUMN, level)], EDGE)
        for k, (value, hover) in enumerate(column):
            shift = DOTS * ((k + 0.5) / len(column) - 0.5)
            place = middle + shift, drawn.y(value)
            drawn.sheet.dot(place, 4, EDGE, hover, fill_opacity=0.75)
        below = Y_PIXELS[0]
        text = f"{mean:.1f} ± {spread:.1f} %, {len(known)} trainings"
        drawn.sheet.text((middle, below + 18), kind, "middle")
        drawn.sheet.text((middle, below + 34), text, "middle", fill=MUTED, font_size=11)
    return drawn.sheet.svg()


def _by_kind(record: StatisticsRecord) -> Mapping[str, Sequence[Repeat]]:
    told = {name: [r for r in record.repeats if r.kind == kind] for kind, name in KINDS.items()}
    return {name: repeats for name, repeats in told.items() if repeats}


def _scores(repeat: Repeat) -> Scores:
    return Scores(np.asarray(repeat.test))


def _figure(repeat: Repeat, name: str) -> float:
    scores = _scores(repeat)
    return scores.accuracy if name == "accuracy" else scores.macro_f1


def _describe(repeat: Repeat) -> str:
    scores = _scores(repeat)
    return (
        f"seed {repeat.seed}, split {repeat.split}\naccuracy {100 * scores.accuracy:.1f} %\n"
        f"macro-F1 {100 * scores.macro_f1:.1f} %"
    )
