"""Drawings of channel pruning: importances, what is left of each layer, accuracy against cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.prune.record import PruneRecord
from optimizer.report.chart import X_PIXELS, Y_PIXELS, Key, chart, draw_keys
from optimizer.report.svg import BEST, EDGE, FAINT, FOG, INK, MUTED, RADIO, Scale, Sheet, scale

CURVES = 6
"""Most groups that have a curve of their own; they are spread over the network."""
COLOURS = (EDGE, RADIO, FOG, BEST, "#b4560f", "#0e7490")
LEAST = 1e-4
LINE, WIDTH, LEFT, RIGHT = 18.0, 940.0, 260.0, 120.0
MOST_ROWS = 40


@dataclass(frozen=True, slots=True)
class Retained:
    """A model of which a share of the channels is left."""

    share: float
    accuracy: float
    """On the validation split."""
    parameters: int
    name: str
    is_own: bool
    """Whether it is a step of this run; else one that [costs] made."""


def draw_importance(record: PruneRecord) -> str:
    """Draw the importances of some groups' channels, the most important first, on a log scale."""
    names = _spread(list(record.importance), CURVES)
    rows = {name: np.sort(record.importance[name])[::-1] for name in names}
    largest = max((float(row[0]) for row in rows.values()), default=1.0) or 1.0
    x, y = Scale(0, 100, *X_PIXELS), _axis(rows.values(), largest)
    drawn = chart(x, y, "channels of a layer, %", "importance, 1 is the largest", "importances")
    for color, (name, row) in zip(COLOURS, rows.items(), strict=False):
        shown = np.maximum(row / largest, y.low)
        drawn.curve([(100 * (i + 1) / len(row), float(v)) for i, v in enumerate(shown)], color)
        kept = len(record.keep.get(name, row))
        last = float(shown[kept - 1])
        hover = f"{name}\n{kept} of {len(row)} channels are left"
        drawn.sheet.dot(drawn.place(100 * kept / len(row), last), 4.5, color, hover)
    return drawn.sheet.svg()


def importance_keys(record: PruneRecord) -> str:
    """Draw which curve is which layer's, a line each."""
    names = _spread(list(record.importance), CURVES)
    sheet = Sheet(480, 12 + 20 * len(names), "layers of the curves")
    for i, (color, name) in enumerate(zip(COLOURS, names, strict=False)):
        draw_keys(sheet, [Key(name, color)], (8, 20 + 20 * i))
    return sheet.svg()


def draw_all_importances(record: PruneRecord) -> str:
    """Draw the importances of all channels together, the largest first: kept or dropped."""
    told = [
        (value, i in set(record.keep.get(name, range(len(row)))))
        for name, row in record.importance.items()
        for i, value in enumerate(row)
    ]
    told.sort(key=lambda pair: -pair[0])
    largest = max(told[0][0], 1e-30) if told else 1.0
    x, y = Scale(0, max(1, len(told)), *X_PIXELS), _axis([[v for v, _ in told]], largest)
    name = f"importance ({record.criterion}), 1 is the largest"
    drawn = chart(x, y, "channels of all layers", name, "importances of all channels")
    step = max(1, len(told) // 1500)
    for i in range(0, len(told), step):
        value, is_kept = told[i]
        place = drawn.place(i, max(value / largest, y.low))
        drawn.sheet.dot(place, 1.8, EDGE if is_kept else RADIO)
    keys = [Key("left", EDGE, "box"), Key("dropped", RADIO, "box")]
    draw_keys(drawn.sheet, keys, (X_PIXELS[0], 18))
    return drawn.sheet.svg()


def draw_widths(record: PruneRecord) -> str:
    """Draw how many channels of every group are left; of many groups some, spread evenly."""
    names = _spread(list(record.keep), MOST_ROWS)
    widths = {name: len(record.importance.get(name, record.keep[name])) for name in names}
    sheet = Sheet(WIDTH, 30 + LINE * len(names), "channels that are left, by layer")
    x = Scale(0, max(widths.values(), default=1), LEFT, WIDTH - RIGHT)
    draw_keys(sheet, [Key("left", EDGE, "box"), Key("dropped", FAINT, "box")], (LEFT, 14))
    for i, (name, width) in enumerate(widths.items()):
        y, kept = 24 + LINE * i, len(record.keep[name])
        short = name if len(name) < 40 else f"…{name[-38:]}"
        sheet.text((LEFT - 8, y + 12), short, "end", font_size=11, fill=INK)
        hover = f"{name}\n{kept} of {width} channels are left"
        sheet.box((LEFT, y + 2), (x(width) - LEFT, LINE - 5), FAINT, hover)
        sheet.box((LEFT, y + 2), (x(kept) - LEFT, LINE - 5), EDGE, hover)
        text = f"{kept} of {width}"
        sheet.text((x(width) + 6, y + 12), text, font_size=11, fill=MUTED)
    return sheet.svg()


def draw_retained(rows: Sequence[Retained]) -> dict[str, str]:
    """Draw accuracy and size against retained channels; SVG texts by name."""
    x = Scale(0, 100, *X_PIXELS)
    accuracies = scale([100 * row.accuracy for row in rows], Y_PIXELS)
    sizes = scale([row.parameters / 1000 for row in rows], Y_PIXELS, 0.0)
    drawn = {
        "accuracy": chart(
            x,
            accuracies,
            "retained channels, %",
            "accuracy on the validation split, %",
            "accuracy against retained channels",
        ),
        "size": chart(
            x,
            sizes,
            "retained channels, %",
            "parameters, thousands",
            "size against retained channels",
        ),
    }
    for row in rows:
        hover = (
            f"{row.name}: {100 * row.share:.0f} % of the channels\n{100 * row.accuracy:.1f} %,"
            f" {row.parameters:,} parameters"
        )
        kind, color = ("star", BEST) if row.is_own else ("circle", EDGE)
        places = {"accuracy": 100 * row.accuracy, "size": row.parameters / 1000}
        for name, value in places.items():
            drawn[name].sheet.mark(drawn[name].place(100 * row.share, value), kind, color, hover)
    keys = [Key("this run", BEST, "star"), Key("whole, or as [costs] made it", EDGE, "dot")]
    for shown in drawn.values():
        draw_keys(shown.sheet, keys, (X_PIXELS[0], 18))
    return {name: shown.sheet.svg() for name, shown in drawn.items()}


def _axis(rows: Iterable[Iterable[float]], largest: float) -> Scale:
    """Return a log scale up to 1 on which all but the very least lie."""
    least = min((v / largest for row in rows for v in row if v > 0), default=LEAST)
    return Scale(min(max(least / 1.15, LEAST), 0.5), 1, *Y_PIXELS, is_log=True)


def _spread(names: list[str], count: int) -> list[str]:
    if len(names) <= count:
        return names
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]
