"""The report of a run in words: lines for the terminal, Markdown for a file."""

import math
from collections.abc import Iterator, Sequence

from optimizer.partition import Row
from optimizer.run_summary import RunSummary
from optimizer.scores import Scores

SYNTHETIC = "SYNTHETIC DATA: these figures say nothing about real signals."


def format_j(joules: float) -> str:
    """Return an energy with three figures in nJ, uJ, mJ or J."""
    for unit, scale in (("nJ", 1e-9), ("uJ", 1e-6), ("mJ", 1e-3)):
        if joules < 1000 * scale:
            return f"{_three_figures(joules / scale)} {unit}"
    return f"{_three_figures(joules)} J"


def show_j(joules: float) -> str:
    """Return an energy as `format_j` does, with the Greek letter of pages and drawings."""
    return format_j(joules).replace("uJ", "µJ")


def energy_unit(joules: float) -> tuple[float, str]:
    """Return the unit, in joules and by name, in which a drawing up to `joules` is laid out."""
    return (1e-6, "µJ") if joules < 1e-3 else (1e-3, "mJ") if joules < 1 else (1.0, "J")


def describe_scores(scores: Scores) -> str:
    """Return accuracy and macro-F1 of a split with the number of its windows."""
    return (
        f"accuracy {scores.accuracy:.3f}, macro-F1 {scores.macro_f1:.3f}"
        f" ({int(scores.confusion.sum())} windows)"
    )


def terminal_lines(summary: RunSummary) -> Iterator[str]:
    """Yield what a person wants to know at the end of a run."""
    if summary.is_synthetic:
        yield SYNTHETIC
    row = summary.chosen
    cost = row.cost
    yield f"data    {summary.data['name']}, protocol {summary.data['protocol']}"
    yield f"model   {summary.parameters} parameters, epoch {summary.training.best_epoch} kept"
    if summary.found:
        yield f"search  {summary.found}"
    yield f"test    {describe_scores(summary.training.test_scores)}"
    if summary.statistics:
        yield f"repeats {summary.statistics}"
    yield f"point   {row.point} of {summary.rows[-1].point}, {row.encoding.value} on the wire"
    yield (
        f"edge    {format_j(row.edge_j)} a window, modelled: {format_j(cost.head_j)} computing on"
        f" {cost.device_profile}, {format_j(cost.tx_j)} sending {summary.wire_bytes(row)} bytes"
        f" over {cost.link_profile} (mode {cost.mode})"
    )


def markdown(summary: RunSummary) -> str:
    """Return the report as Markdown."""
    training = summary.training
    parts = [
        f"# {summary.recipe.name} {summary.recipe.version}",
        f"**{SYNTHETIC}**" if summary.is_synthetic else "",
        f"Data: {summary.data['name']}, protocol *{summary.data['protocol']}*, seed"
        f" {summary.recipe.seed}. {summary.parameters} parameters. Bundle `{summary.bundle}`,"
        f" digest `{summary.packed.digest}`.",
        "## Figures",
        f"- test: {describe_scores(training.test_scores)}",
        f"- validation, which chose {'the network and ' if summary.found else ''}epoch"
        f" {training.best_epoch}:"
        f" {describe_scores(training.validation_scores)}",
        f"- network found by search: {summary.found}" if summary.found else "",
        f"- repeated: {summary.statistics}" if summary.statistics else "",
        f"- always the commonest class of the test split: accuracy {trivial(summary):.3f}",
        f"- segments against Keras before softmax: largest error {summary.verified_error:.1e} of"
        f" the largest output, on {summary.verified_windows} windows",
        "## Confusion on the test split",
        _table(*confusion_table(summary)),
        "## Partition points",
        f"Modelled energy of one window on the edge, mode {summary.choice.cost.mode}.",
        _table(*points_table(summary)),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def trivial(summary: RunSummary) -> float:
    """Return the test accuracy of always naming the commonest class."""
    counts = summary.training.test_scores.confusion.sum(axis=1)
    return float(counts.max() / max(1, counts.sum()))


def confusion_table(summary: RunSummary) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: true class, given classes, F1."""
    scores = summary.training.test_scores
    rows = [
        [label, *(str(n) for n in counts), "" if math.isnan(f1) else f"{f1:.3f}"]
        for label, counts, f1 in zip(summary.labels, scores.confusion, scores.f1, strict=True)
    ]
    return ["true \\ given", *summary.labels, "F1"], rows


def points_table(summary: RunSummary) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: one row per partition point and encoding."""
    head = ["point", "encoding", "bytes", "compute", "send", "edge total", "Flash", "RAM"]
    return [*head, "validation accuracy", "note"], [_cells(summary, row) for row in summary.rows]


def place(summary: RunSummary, point: int) -> str:
    """Return what a partition point means, in words."""
    if point == 0:
        return "all in the fog"
    return "all on the edge" if point == summary.rows[-1].point else ""


def _cells(summary: RunSummary, row: Row) -> list[str]:
    accuracy = summary.accuracy(row)
    notes = [place(summary, row.point), "**chosen**" if row == summary.chosen else "", row.reason]
    return [
        str(row.point),
        row.encoding.value,
        str(summary.wire_bytes(row)),
        format_j(row.cost.head_j),
        format_j(row.cost.tx_j),
        format_j(row.edge_j),
        f"{row.flash_bytes} B",
        f"{row.ram_bytes} B",
        "" if accuracy is None else f"{accuracy:.3f}",
        "; ".join(n for n in notes if n),
    ]


def _three_figures(value: float) -> str:
    return "0" if value == 0 else f"{value:#.3g}".rstrip(".")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
