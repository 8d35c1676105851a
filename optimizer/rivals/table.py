"""The table of rivals as text: for a terminal and as Markdown."""

import math
from collections.abc import Iterator, Sequence

from optimizer.rivals.printed import TABLE_IV
from optimizer.rivals.record import RivalRow, RivalsRecord, Statistic

HEAD = (
    "method", "accuracy before", "accuracy", "loss", "loss, both trained on", "MMACs",
    "parameters", "kB", "latency", "training s", "choosing s", "energy",
)  # fmt: skip
PRINTED_HEAD = ("method", "InceptionV3", "VGG16")


def markdown(record: RivalsRecord) -> str:
    """Return the whole table with what it means, as Markdown."""
    lines = [f"# Rivals: {record.name}", "", _intro(record), "", *_table(HEAD, _rows(record)), ""]
    lines += [
        "## Printed by ToSiM-IoT",
        "",
        "Table IV of the paper, not measured here: DeepWeeds (nine classes of photographs), one"
        " figure each, without a word on the share that was pruned or frozen. Only the order of"
        " rows may be compared.",
        "",
        *_table(PRINTED_HEAD, _printed_rows()),
        "",
        "## What was chosen",
        "",
        *(f"- {row.name}: {' | '.join(row.notes)}" for row in record.rows if any(row.notes)),
    ]
    return "\n".join([*lines, ""])


def terminal_lines(record: RivalsRecord) -> list[str]:
    """Return the two tables in columns."""
    return [
        *_columns([HEAD, *_rows(record)]),
        "",
        _intro(record),
        "",
        "printed by ToSiM-IoT for DeepWeeds:",
        *_columns([PRINTED_HEAD, *_printed_rows()]),
    ]


def noise_points(record: RivalsRecord) -> float:
    """Return the standard error of the difference of two accuracies on the images, in points.

    Source: the binomial distribution, sqrt(2 p (1 - p) / n), as if the two erred independently.
    """
    p = record.rows[0].accuracy.mean
    return 100 * math.sqrt(2 * p * (1 - p) / record.images)


def _intro(record: RivalsRecord) -> str:
    row = record.rows[0]
    seeds = ", ".join(map(str, record.seeds))
    of = f"of seed {seeds}" if len(record.seeds) == 1 else f"mean ± deviation over seeds {seeds}"
    return (
        f"{record.data}, accuracies in percent on {record.images} {row.split} images, {of}."
        f" Pruned to {record.macs_share:.0%} of the MACs;"
        f" every method has {record.epochs} epochs of training. Losses are in points, against the"
        " unpruned network of the same seed as it was and as it is when trained on for as long."
        " Latency is onnxruntime's, one thread, batch 1, relative to the unpruned network's."
        f" Energy is modelled as {record.power_w:g} W ({record.power_source}) times the seconds."
        f" On so many images two accuracies that err independently differ by"
        f" {noise_points(record):.1f} points by chance (one standard error)."
    )


def _rows(record: RivalsRecord) -> list[tuple[str, ...]]:
    return [tuple(_cells(row)) for row in record.rows]


def _cells(row: RivalRow) -> Iterator[str]:
    yield row.name
    yield _show(row.before, 100)
    yield _show(row.accuracy, 100)
    yield _show(row.loss, 100)
    yield _show(row.loss_trained_on, 100)
    yield f"{row.macs.mean / 1e6:.2f}"
    yield f"{row.parameters.mean:.0f}"
    yield f"{row.onnx_bytes.mean / 1e3:.0f}"
    yield _show(row.latency_ratio, 1, 2)
    yield f"{row.training_s.mean:.0f}"
    yield f"{row.choosing_s.mean:.1f}"
    yield f"{row.energy_j.mean:.0f} J"


def _printed_rows() -> list[tuple[str, ...]]:
    return [(r.name, f"{r.inception_percent:g} %", f"{r.vgg_percent:g} %") for r in TABLE_IV]


def _show(value: Statistic | None, factor: float, digits: int = 1) -> str:
    if value is None:
        return "-"
    text = f"{factor * value.mean:.{digits}f}"
    return text if value.std is None else f"{text} ± {factor * value.std:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
