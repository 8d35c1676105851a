"""The report of a run in words: figures with their units, lines for the terminal."""

from collections.abc import Iterator

from optimizer.partition import Row
from optimizer.report.captured import captured_text
from optimizer.report.summary import RunSummary, Summary
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
    yield f"data    {summary.data['name']}, protocol {summary.data['protocol']}"
    captured = captured_text(summary.data)
    if captured is not None:
        yield f"field   {captured}"
    yield f"model   {summary.parameters} parameters, epoch {summary.training.best_epoch} kept"
    if summary.found:
        yield f"search  {summary.found}"
    yield f"test    {describe_scores(summary.training.test_scores)}"
    if summary.statistics:
        yield f"repeats {summary.statistics}"
    yield from chosen_lines(summary)


def chosen_lines(summary: Summary) -> Iterator[str]:
    """Yield where the model is cut, and what that costs."""
    row = summary.chosen
    cost = row.cost
    yield f"point   {row.point} of {summary.rows[-1].point}, {row.encoding.value} on the wire"
    yield (
        f"edge    {format_j(row.edge_j)} a window, modelled: {format_j(cost.head_j)} computing on"
        f" {cost.device_profile}, {format_j(cost.tx_j)} sending {summary.wire_bytes(row)} bytes"
        f" over {cost.link_profile} (mode {cost.mode})"
    )


def trivial(summary: Summary) -> float:
    """Return the test accuracy of always naming the commonest class."""
    counts = summary.training.test_scores.confusion.sum(axis=1)
    return float(counts.max() / max(1, counts.sum()))


def points_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: one row per partition point and encoding."""
    head = ["point", "encoding", "bytes", "compute", "send", "edge total", "Flash", "RAM"]
    return [*head, "validation accuracy", "note"], [_cells(summary, row) for row in summary.rows]


def place(summary: Summary, point: int) -> str:
    """Return what a partition point means, in words."""
    if point == 0:
        return "all in the fog"
    return "all on the edge" if point == summary.rows[-1].point else ""


def _cells(summary: Summary, row: Row) -> list[str]:
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
