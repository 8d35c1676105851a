"""What a run's network is held against: a drawing, a table, and what of it is noise."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optimizer.compare.compare import ComparatorRow
from optimizer.report.chart import Chart, Key, chart, draw_keys
from optimizer.report.summary import RunSummary, Summary
from optimizer.report.svg import BEST, EDGE, MUTED, RADIO, Place, Scale, log_scale, scale
from optimizer.report.tables import UNKNOWN
from optimizer.report.text import energy_unit, show_j

X_PIXELS, Y_PIXELS = (62.0, 924.0), (390.0, 34.0)
LARGEST_RATIO = 30.0  # printed rows that need that much more energy than the run are not drawn
Box = tuple[float, float, float, float]
MARKS = {"measured": "circle", "printed": "square", "calculated": "diamond"}
TOGETHER = ("inter_patient", "recording")  # protocols that deal patients or recordings, not windows
DEEPEST = 0.12  # accuracies lower than the run's by more are drawn at the bottom, with the figure
LETTER_PIXELS, LINE_PIXELS = 6.5, 13.0
COLORS = {"measured": EDGE, "printed": MUTED, "calculated": RADIO}


@dataclass(frozen=True, slots=True)
class Noise:
    """How far accuracies on so many windows scatter by chance alone."""

    windows: int
    accuracy: float
    error: float
    """Standard error of one accuracy: of a share among independent windows."""
    is_independent: bool
    """Whether the windows were dealt at random; else those of one patient stay together."""

    @property
    def difference(self) -> float:
        """Standard error of the difference of two such accuracies."""
        return math.sqrt(2) * self.error

    @property
    def text(self) -> str:
        """What to think of small differences, in words."""
        alike = "" if self.is_independent else " Windows of one patient are alike: it is more."
        return (
            f"On {self.windows} test windows an accuracy of {100 * self.accuracy:.1f} % has a"
            f" standard error of {100 * self.error:.1f} points, and the difference of two such"
            f" accuracies one of {100 * self.difference:.1f}: smaller differences are noise.{alike}"
        )


def noise(summary: Summary) -> Noise:
    """Return the noise of the run's own test accuracy.

    Source: the binomial distribution, sqrt(p (1 - p) / n).
    """
    scores = summary.training.test_scores
    count, accuracy = int(scores.confusion.sum()), scores.accuracy
    error = math.sqrt(accuracy * (1 - accuracy) / max(1, count))
    is_dealt = not any(kind in summary.data["protocol"] for kind in TOGETHER)
    return Noise(count, accuracy, error, is_dealt)


def drawn_rows(summary: RunSummary, rows: Sequence[ComparatorRow]) -> tuple[ComparatorRow, ...]:
    """Return the rows that are drawn: with accuracy and edge energy, and not far off the scale."""
    limit_j = LARGEST_RATIO * summary.chosen.edge_j
    return tuple(
        r
        for r in rows
        if r.accuracy is not None and r.edge_j and (r.origin == "measured" or r.edge_j <= limit_j)
    )


def draw_comparison(summary: RunSummary, rows: Sequence[ComparatorRow]) -> str | None:
    """Draw accuracy against edge energy of every row of `drawn_rows`, and of the run itself.

    Returns:
        The drawing, or None where there is nothing beside the run to draw.
    """
    known = drawn_rows(summary, rows)
    if not known:
        return None
    own_j = summary.chosen.edge_j
    own, error, name = _own(summary)
    energies = [own_j, *(r.edge_j or 0.0 for r in known)]
    unit_j, unit = energy_unit(own_j)
    drawn = chart(
        _energy_scale([e / unit_j for e in energies]),
        _accuracy_scale(own, error, known),
        f"edge energy of a window, {unit}, modelled",
        "accuracy on the test split, %",
        "accuracy against edge energy of what the network is compared with",
    )
    for row in known:
        _draw_row(drawn, row, unit_j)
    place = drawn.place(own_j / unit_j, 100 * own)
    _bar(drawn, own_j / unit_j, 100 * own, 100 * error, BEST)
    text = f"this run\naccuracy {100 * own:.1f} ± {100 * error:.1f} %, {name}\nedge {show_j(own_j)}"
    drawn.sheet.mark(place, "star", BEST, text, 6)
    centers = [_place(drawn, row, unit_j) for row in known]
    names = ["this run", *(_name(drawn, row) for row in known)]
    for corner, name in _free_places([place, *centers], names):
        drawn.sheet.text(corner, name, font_size=11, pointer_events="none")
    keys = [Key("this run", BEST, "star")]
    keys += [Key(o, COLORS[o], MARKS[o]) for o in dict.fromkeys(r.origin for r in known)]
    draw_keys(drawn.sheet, keys, (X_PIXELS[0], 18))
    return drawn.sheet.svg()


def comparison_table(rows: Sequence[ComparatorRow]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the comparison; a dash where nothing is known."""
    head = [
        "way",
        "origin",
        "accuracy",
        "macro-F1",
        "edge",
        "edge and fog",
        "parameters (edge)",
        "cut",
    ]
    return [*head, "trainings", "note"], [_cells(row) for row in rows]


def describe_row(row: ComparatorRow) -> str:
    """Return what is known of a row, one fact a line."""
    lines = [f"{row.name} ({row.origin})"]
    if row.accuracy is not None:
        lines.append(f"accuracy {_percent(row.accuracy, row.accuracy_std)}")
    lines += [f"edge {show_j(row.edge_j)}"] if row.edge_j is not None else []
    lines += [f"edge and fog {show_j(row.total_j)}"] if row.total_j is not None else []
    lines += [f"{row.parameters} parameters"] if row.parameters is not None else []
    if row.point is not None:
        lines.append(f"point {row.point}, {row.encoding or 'float32'} on the wire")
    return "\n".join([*lines, *([row.note] if row.note else [])])


def _own(summary: RunSummary) -> tuple[float, float, str]:
    """Return the run's accuracy, what its bar shows, and what that is."""
    figures = summary.statistics.figures("seed") if summary.statistics else None
    if figures is not None and figures.count > 1:
        spread = f"mean and standard deviation of {figures.count} seeds"
        return figures.accuracy_mean, figures.accuracy_std, spread
    return summary.training.test_scores.accuracy, noise(summary).error, "standard error"


def _draw_row(drawn: Chart, row: ComparatorRow, unit_j: float) -> None:
    assert row.edge_j is not None, "filtered"
    assert row.accuracy is not None, "filtered"
    reach = 100 * (row.accuracy_std or 0.0)
    _bar(drawn, row.edge_j / unit_j, 100 * row.accuracy, reach, COLORS[row.origin])
    center = _place(drawn, row, unit_j)
    drawn.sheet.mark(center, MARKS[row.origin], COLORS[row.origin], describe_row(row), 5)


def _place(drawn: Chart, row: ComparatorRow, unit_j: float) -> Place:
    """Return where a row is drawn: one below the axis at its lower end."""
    x, accuracy = (row.edge_j or 0.0) / unit_j, 100 * (row.accuracy or 0.0)
    is_within = accuracy >= drawn.y.low
    return drawn.place(x, accuracy) if is_within else (drawn.x(x), drawn.y.start - 12)


def _name(drawn: Chart, row: ComparatorRow) -> str:
    percent = 100 * (row.accuracy or 0.0)
    return row.name if percent >= drawn.y.low else f"{row.name}: {percent:.1f} % ▼"


def _bar(drawn: Chart, x: float, y: float, reach: float, color: str) -> None:
    if reach and y + reach > drawn.y.low:
        low, high = max(drawn.y.low, y - reach), min(drawn.y.high, y + reach)
        drawn.sheet.line(drawn.place(x, low), drawn.place(x, high), color)


def _cells(row: ComparatorRow) -> list[str]:
    return [
        row.name,
        row.origin,
        UNKNOWN if row.accuracy is None else _percent(row.accuracy, row.accuracy_std),
        UNKNOWN if row.macro_f1 is None else f"{row.macro_f1:.3f}",
        UNKNOWN if row.edge_j is None else show_j(row.edge_j),
        UNKNOWN if row.total_j is None else show_j(row.total_j),
        _parameters(row),
        UNKNOWN if row.point is None else f"{row.point}, {row.encoding or 'float32'}",
        f"{row.trainings} in {row.seconds:.0f} s" if row.trainings else UNKNOWN,
        row.note,
    ]


def _parameters(row: ComparatorRow) -> str:
    whole = UNKNOWN if row.parameters is None else str(row.parameters)
    return whole if row.edge_parameters is None else f"{whole} ({row.edge_parameters})"


def _percent(value: float, spread: float | None) -> str:
    return f"{100 * value:.1f} %" + ("" if spread is None else f" ± {100 * spread:.1f}")


def _free_places(centers: Sequence[Place], names: Sequence[str]) -> Iterator[tuple[Place, str]]:
    """Yield where a name may be written beside its mark; one without room is left to the hover."""
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in centers]
    for (x, y), name in zip(centers, names, strict=True):
        width = LETTER_PIXELS * len(name)
        for left, top in (
            (x + 12, y - 6),
            (x - 9 - width, y - 6),
            (x - width / 2, y - 21),
            (x - width / 2, y + 9),
        ):
            box = left, top, left + width, top + LINE_PIXELS
            is_within = box[0] > X_PIXELS[0] and box[2] < X_PIXELS[1] + 10
            if is_within and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                yield (left, top + 10), name
                break


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _accuracy_scale(own: float, error: float, rows: Sequence[ComparatorRow]) -> Scale:
    """Return a scale that shows differences around the run's own accuracy."""
    spread = [own - error, own + error]
    for row in rows:
        reach, accuracy = row.accuracy_std or 0.0, row.accuracy or 0.0
        spread += [accuracy - reach, accuracy + reach]
    shown = [100 * max(value, own - DEEPEST) for value in spread]
    y = scale(shown, Y_PIXELS)
    return Scale(max(0.0, y.low), min(100.0, y.high), *Y_PIXELS)


def _energy_scale(values: Sequence[float]) -> Scale:
    return log_scale(values, X_PIXELS) if min(values) > 0 else scale(values, X_PIXELS)
