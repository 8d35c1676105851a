"""Tables of a report as head and rows of text: the classes, and the windows of every split."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.report.summary import Summary

UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts."""

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    own: int = 0
    """How many rows at the end are this run's."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How one class of the test split was told apart; None where a figure is not defined."""

    label: str
    windows: int
    sensitivity: float | None
    """Share of the class's windows that were given it; None where the split has none."""
    ppv: float | None
    """Positive predictive value: share of the windows given it that have it; None where no window
    was given it."""
    f1: float | None


def class_figures(summary: Summary) -> tuple[ClassFigures, ...]:
    """Return the figures of every class on the test split."""
    scores = summary.training.test_scores
    told = []
    for i, label in enumerate(summary.labels):
        right, f1 = scores.confusion[i, i], float(scores.f1[i])
        true, given = int(scores.confusion[i].sum()), int(scores.confusion[:, i].sum())
        sensitivity, ppv = (float(right / n) if n else None for n in (true, given))
        known = None if math.isnan(f1) else f1
        told.append(ClassFigures(label, true, sensitivity, ppv, known))
    return tuple(told)


def class_table(summary: Summary) -> Table:
    """Return sensitivity, PPV and F1 of every class on the test split."""
    head = ["class", "windows", "sensitivity", "PPV", "F1"]
    rows = [
        [c.label, str(c.windows), *map(_share, (c.sensitivity, c.ppv, c.f1))]
        for c in class_figures(summary)
    ]
    return Table("classes", head, rows)


def split_table(summary: Summary) -> Table:
    """Return the windows of every class in every split."""
    counts = summary.data["counts"]
    head = ["split", *summary.labels, "all"]
    rows = [
        [split, *(str(told.get(label, 0)) for label in summary.labels), str(sum(told.values()))]
        for split, told in counts.items()
    ]
    return Table("splits", head, rows)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.1f} %"
