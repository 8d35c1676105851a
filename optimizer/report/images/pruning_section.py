"""The section of a report on the channels that were dropped."""

from optimizer.freeze.record import FreezingRecord
from optimizer.package.table import format_amount
from optimizer.prune.record import PruneRecord
from optimizer.report.images.pruning import (
    Retained,
    draw_all_importances,
    draw_importance,
    draw_retained,
    draw_widths,
    importance_keys,
)
from optimizer.report.images.summary import ImageSummary
from optimizer.report.tables import Table
from optimizer.report.template import folded, plots, section, table, wide
from optimizer.training.stage import StageRecord

Scored = FreezingRecord | StageRecord


def pruning_section(summary: ImageSummary) -> str:
    """Return the section, or nothing where the recipe prunes nothing."""
    record = summary.pruned
    if record is None:
        return ""
    ended = "" if record.is_complete else " The next step missed A_min and was not taken."
    note = (
        f"Channels judged by {record.criterion}, {len(record.steps)} steps, each with a training"
        f" after it.{ended} On the curves a dot marks how many of a layer's channels are left; what"
        " a layer keeps depends on all that must keep the same channels."
    )
    retained = draw_retained(_retained(summary, record))
    return section(
        "pruning",
        "Channels dropped",
        note,
        table(steps_table(summary, record)),
        plots([retained["accuracy"], retained["size"]]),
        plots([draw_all_importances(record), draw_importance(record), importance_keys(record)]),
        wide(draw_widths(record)),
        _trials(record),
        _frozen(record),
    )


def _step(
    name: str, shares: tuple[float, float], counts: tuple[int, int], scored: Scored
) -> list[str]:
    """Return one line of the steps' table.

    Args:
        name: Of the step.
        shares: Multiply-accumulates, and those as a share of all.
        counts: Channels and parameters.
        scored: How well the model of the step does.
    """
    macs, share = shares
    return [
        name,
        format_amount(macs, ""),
        f"{100 * share:.1f} %",
        f"{counts[0]:,}",
        f"{counts[1]:,}",
        f"{100 * scored.validation_scores.accuracy:.1f} %",
        f"{100 * scored.test_scores.accuracy:.1f} %",
    ]


def steps_table(summary: ImageSummary, record: PruneRecord) -> Table:
    """Return the model ahead of pruning and after each step."""
    head = ["step", "MACs", "of all", "channels", "parameters", "validation", "test"]
    counts = record.channels, record.parameters
    rows = [_step("before", (record.macs, 1.0), counts, summary.freezing or summary.adapted)]
    for number, step in enumerate(record.steps, start=1):
        shares = step.macs, step.macs / record.macs
        counts = step.channels, step.parameters
        rows.append(_step(str(number), shares, counts, step.training))
    return Table("steps", head, rows, 1)


def _retained(summary: ImageSummary, record: PruneRecord) -> list[Retained]:
    before = summary.freezing or summary.adapted
    accuracy = before.validation_scores.accuracy
    rows = [Retained(1.0, accuracy, record.parameters, "before", is_own=False)]
    rows += [
        Retained(s.channels / record.channels, s.accuracy, s.parameters, f"step {n}", is_own=True)
        for n, s in enumerate(record.steps, start=1)
    ]
    made = summary.costs.retained if summary.costs else ()
    total = max((row.channels for row in made), default=record.channels)
    rows += [
        Retained(r.channels / total, r.accuracy, r.parameters, "[costs]", is_own=False)
        for r in made
        if r.share < 1
    ]
    return rows


def _trials(record: PruneRecord) -> str:
    if not record.trials:
        return ""
    head = ["threshold", "MACs", "validation accuracy", "profit", "within the limits"]
    rows = [
        [
            f"{t.threshold:.3g}",
            f"{100 * t.macs / record.macs:.1f} %",
            f"{100 * t.accuracy:.1f} %",
            f"{t.profit:.3f}",
            "yes" if t.is_valid else "no",
        ]
        for t in record.trials
    ]
    return folded("thresholds tried, the best first", table(Table("trials", head, rows)))


def _frozen(record: PruneRecord) -> str:
    if not record.frozen:
        return ""
    rows = [[f.layer, str(f.channels), f.reason] for f in record.frozen]
    shown = table(Table("frozen", ["layer", "channels", "why"], rows))
    return folded("channels that cannot be dropped", shown)
