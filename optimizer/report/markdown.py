"""The report of a run as Markdown, for a place that shows no pages."""

import math
from collections.abc import Iterator, Sequence

from optimizer.package.cuts import CAPTION, HEAD, cut_rows
from optimizer.report.captured import captured_text
from optimizer.report.comparison import comparison_table, noise
from optimizer.report.facts import kept_epoch
from optimizer.report.field import field_parts
from optimizer.report.repeats import repeats_table
from optimizer.report.summary import RunSummary, Summary
from optimizer.report.tables import Table
from optimizer.report.text import SYNTHETIC, describe_scores, points_table, trivial


def markdown(summary: RunSummary) -> str:
    """Return the report as Markdown."""
    training = summary.training
    parts = [
        f"# {summary.recipe.name} {summary.recipe.version}",
        f"**{SYNTHETIC}**" if summary.is_synthetic else "",
        f"Data: {summary.data['name']}, protocol *{summary.data['protocol']}*, seed"
        f" {summary.recipe.seed}. {summary.parameters} parameters. Bundle `{summary.bundle}`,"
        f" digest `{summary.packed.digest}`.",
        f"Captured inputs: {captured}." if (captured := captured_text(summary.data)) else "",
        "## Figures",
        f"- test: {describe_scores(training.test_scores)}",
        f"- validation{', which chose the network' if summary.found else ''}:"
        f" {describe_scores(training.validation_scores)}; {kept_epoch(summary)}",
        f"- network found by search: {summary.found}" if summary.found else "",
        f"- always the commonest class of the test split: accuracy {trivial(summary):.3f}",
        f"- segments against Keras before softmax: largest error {summary.verified_error:.1e} of"
        f" the largest output, on {summary.verified_windows} windows",
        *_repeats(summary),
        *_comparison(summary),
        "## Confusion on the test split",
        markdown_table(*confusion_table(summary)),
        "## Partition points",
        f"Modelled energy of one window on the edge, mode {summary.choice.cost.mode}.",
        markdown_table(*points_table(summary)),
    ]
    parts += (
        markdown_table(part.head, part.rows) if isinstance(part, Table) else part
        for part in field_parts(summary.field)
    )
    parts += _time(summary)
    return "\n\n".join(p for p in parts if p) + "\n"


def confusion_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: true class, given classes, F1."""
    scores = summary.training.test_scores
    rows = [
        [label, *(str(n) for n in counts), "" if math.isnan(f1) else f"{f1:.3f}"]
        for label, counts, f1 in zip(summary.labels, scores.confusion, scores.f1, strict=True)
    ]
    return ["true \\ given", *summary.labels, "F1"], rows


def _repeats(summary: RunSummary) -> Iterator[str]:
    record = summary.statistics
    if record is not None and record.repeats:
        shown = repeats_table(record)
        yield "## Repeats"
        yield f"{record.protocol}."
        yield markdown_table(shown.head, shown.rows)


def _comparison(summary: RunSummary) -> Iterator[str]:
    if summary.comparison is not None:
        yield "## Comparison"
        yield noise(summary).text
        yield markdown_table(*comparison_table(summary.comparison.rows))


def _time(summary: RunSummary) -> Iterator[str]:
    if summary.seconds:
        yield "## Time spent"
        rows = [[name, f"{seconds:.1f} s"] for name, seconds in summary.seconds.items()]
        yield markdown_table(["stage", "time"], rows)
    if summary.cut_costs:
        yield "## Cost of the cuts"
        yield f"{CAPTION}."
        yield markdown_table(HEAD, cut_rows(summary.cut_costs))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
