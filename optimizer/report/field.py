"""What the field said, for the report of a run: before, after, and why the new point is better."""

from collections.abc import Iterator
from typing import Any

import msgspec

from optimizer.field.lesson import Lesson
from optimizer.field.outcome import FieldOutcome
from optimizer.field.text import (
    CHANGES_HEAD,
    SEEN_HEAD,
    change_rows,
    fog_line,
    seen_rows,
    show_s,
    sources,
    trips_line,
)
from optimizer.partition import Row
from optimizer.report.tables import Table
from optimizer.report.template import escape, section, table
from optimizer.report.text import format_j

CHOICE_HEAD = ("choice", "point", "encoding", "latency", "edge energy", "edge and fog")
WORDS = {"edge_energy": "edge energy", "total_energy": "energy of edge and fog"}


def field_figures(outcome: FieldOutcome) -> dict[str, Any]:
    """Return the section `field` of report.json: times in s, energies in J."""
    lesson, seen = outcome.lesson, outcome.lesson.seen
    points = [msgspec.to_builtins(p) | {"predicted_s": lesson.predicted_s(p)} for p in seen.points]
    told = {
        "model": seen.model,
        "at": seen.at,
        "range_s": seen.range_s,
        "matchers": seen.matchers,
        "windows": seen.windows,
        "loss_ratio": seen.loss_ratio,
        "round_trips": seen.round_trips,
        "fallbacks": seen.fallbacks,
        "losses": seen.losses,
        "points": points,
        "device_profile": lesson.device.name,
        "link_profile": lesson.link.name,
        "fog": lesson.fog,
        "changes": lesson.changes,
        "kept": lesson.kept,
        "before": None,
        "after": _row_figures(outcome.after),
        "verdict": verdict(outcome),
    }
    if outcome.before is not None and outcome.before_now is not None:
        told["before"] = _row_figures(outcome.before_now) | {
            "by_old_profiles": _row_figures(outcome.before)
        }
    return told


def verdict(outcome: FieldOutcome) -> str:
    """Return in one sentence what the corrected profiles changed, and why that is better."""
    now, after = outcome.before_now, outcome.after
    if now is None:
        return "No choice could be made with the profiles as they were."
    if (now.point, now.encoding) == (after.point, after.encoding):
        return "The corrected profiles choose the same point and encoding."
    if not now.is_feasible:
        return (
            f"At the corrected prices point {now.point} with {now.encoding.value} is out of"
            f" bounds: {now.reason}."
        )
    what, of = WORDS.get(outcome.objective, "latency"), (now, after)
    if outcome.objective == "latency":
        values = [row.latency_s for row in of]
        shown = [show_s(v) for v in values]
    else:
        values = [r.total_j if outcome.objective == "total_energy" else r.edge_j for r in of]
        shown = [format_j(v or 0.0) for v in values]
    less = "" if not values[0] else f", {1 - (values[1] or 0.0) / values[0]:.0%} less"
    return (
        f"At the corrected prices point {after.point} with {after.encoding.value} has the lesser"
        f" {what}: {shown[1]} against {shown[0]} at point {now.point} with"
        f" {now.encoding.value}{less}."
    )


def choice_rows(outcome: FieldOutcome) -> list[list[str]]:
    """Return a row of text per choice and price."""
    named = (
        ("old profiles, old prices", outcome.before),
        ("old profiles, corrected prices", outcome.before_now),
        ("corrected profiles", outcome.after),
    )
    return [
        [
            name,
            str(row.point),
            row.encoding.value,
            show_s(row.latency_s),
            format_j(row.edge_j),
            format_j(row.total_j),
        ]
        for name, row in named
        if row is not None
    ]


def notes(outcome: FieldOutcome) -> Iterator[str]:
    """Yield what tables do not hold: origins, the fog, and what could not be told."""
    lesson = outcome.lesson
    yield trips_line(lesson)
    yield fog_line(lesson)
    yield from sources(lesson)
    yield from (f"not corrected: {reason}" for reason in lesson.kept)


def field_section(outcome: FieldOutcome | None) -> str:
    """Return the section of the page; nothing where nothing was learned."""
    if outcome is None:
        return ""
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes(outcome))
    lesson = outcome.lesson
    return section(
        "field",
        "What the field said",
        f"{_stretch(lesson)} {verdict(outcome)}",
        table(Table("choices", CHOICE_HEAD, choice_rows(outcome))),
        "<h3>Constants</h3>",
        table(Table("constants", CHANGES_HEAD, change_rows(lesson))) if lesson.changes else "",
        f'<ul class="notes">{lines}</ul>',
        "<h3>Means of what agents measured</h3>",
        table(Table("seen", SEEN_HEAD, seen_rows(lesson))),
    )


def field_parts(outcome: FieldOutcome | None) -> Iterator[str | Table]:
    """Yield the section's heading, texts and tables for a page of plain text."""
    if outcome is None:
        return
    lesson = outcome.lesson
    yield "## What the field said"
    yield f"{_stretch(lesson)} {verdict(outcome)}"
    yield Table("choices", CHOICE_HEAD, choice_rows(outcome))
    if lesson.changes:
        yield Table("constants", CHANGES_HEAD, change_rows(lesson))
    yield "\n".join(f"- {note}" for note in notes(outcome))
    yield Table("seen", SEEN_HEAD, seen_rows(lesson))


def _stretch(lesson: Lesson) -> str:
    seen = lesson.seen
    return (
        f"Prometheus recorded {seen.windows:.0f} windows of model {seen.model} in {seen.range_s} s"
        f" to {seen.at}."
    )


def _row_figures(row: Row) -> dict[str, Any]:
    latency_s, cost = row.latency_s, row.cost
    return {
        "point": row.point,
        "encoding": row.encoding,
        "device_profile": cost.device_profile,
        "link_profile": cost.link_profile,
        "latency_s": latency_s,
        "head_s": cost.head_s,
        "tx_s": cost.tx_s,
        "edge_j": row.edge_j,
        "total_j": row.total_j,
        "excesses": row.reason,
    }
