"""The report of a run: plots, a Markdown page and one self-contained HTML page."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from headtail.tensor import Array
from optimizer.report_page import render_page
from optimizer.report_text import format_j, markdown
from optimizer.run_folder import RunFolder
from optimizer.run_summary import RunSummary

HEAD, SEND, GREY, INK, BEST = "#2b6cb0", "#f0a04b", "#c9ced6", "#1f2937", "#15803d"
STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "path",  # the page looks alike where the font is missing
    "svg.hashsalt": "headtail",  # the same plot gives the same bytes
}


def write_report(summary: RunSummary, folder: RunFolder) -> None:
    """Write report.md, report.html and the plots as SVG files into a run's folder."""
    with mpl.rc_context(STYLE):
        plots = {
            "points": _svg(draw_points(summary)),
            "training": _svg(draw_training(summary)),
            "confusion": _svg(draw_confusion(summary)),
        }
    for name, svg in plots.items():
        folder.write(f"plot_{name}.svg", svg.encode("utf-8"))
    folder.write("report.md", markdown(summary).encode("utf-8"))
    folder.write("report.html", render_page(summary, plots).encode("utf-8"))


def draw_points(summary: RunSummary) -> Figure:
    """Draw the edge energy of every point and encoding as stacked bars, computing and sending."""
    rows = summary.rows
    figure, axes = _figure(9.0, 0.9 + 0.27 * len(rows))
    unit_j, unit = _unit(max(r.edge_j for r in rows))
    places = np.asarray([i + 0.6 * row.point for i, row in enumerate(rows)])
    head = np.asarray([r.cost.head_j for r in rows]) / unit_j
    send = np.asarray([r.cost.tx_j for r in rows]) / unit_j
    is_feasible = [r.is_feasible for r in rows]
    axes.barh(places, head, 0.8, color=[HEAD if f else GREY for f in is_feasible])
    axes.barh(places, send, 0.8, left=head, color=[SEND if f else "#e5e7eb" for f in is_feasible])
    for place, row in zip(places, rows, strict=True):
        is_chosen = row == summary.chosen
        text = format_j(row.edge_j).replace("uJ", "µJ")
        text += "   ◀ chosen" if is_chosen else "" if row.is_feasible else "   out of bounds"
        axes.text(
            row.edge_j / unit_j,
            place,
            f"  {text}",
            va="center",
            fontsize=9,
            color=BEST if is_chosen else INK,
            fontweight="bold" if is_chosen else "normal",
        )
    names = [f"point {r.point}  {r.encoding.value}  {summary.wire_bytes(r)} B" for r in rows]
    axes.set_yticks(places, names, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(r.edge_j for r in rows) / unit_j)
    axes.set_xlabel(f"modelled edge energy of one window, {unit}")
    for color, name in ((HEAD, "computing the head"), (SEND, "sending")):
        axes.barh([0], [0], color=color, label=name)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9)
    return figure


def draw_training(summary: RunSummary) -> Figure:
    """Draw loss, validation accuracy and macro-F1 over the epochs."""
    epochs = summary.training.epochs
    figure = Figure(figsize=(9.0, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    numbers = [e.epoch for e in epochs]
    left.plot(numbers, [e.loss for e in epochs], color=HEAD, label="training loss")
    left.plot(numbers, [e.validation_loss for e in epochs], color=SEND, label="validation loss")
    right.plot(numbers, [e.validation_accuracy for e in epochs], color=HEAD, label="accuracy")
    right.plot(numbers, [e.validation_macro_f1 for e in epochs], color=SEND, label="macro-F1")
    right.set_ylim(0, 1)
    right.set_title("validation split", fontsize=10)
    is_weighted = summary.recipe.train.balance == "weight"
    left.set_title("loss (training: with class weights)" if is_weighted else "loss", fontsize=10)
    for axes in (left, right):
        best = summary.training.best_epoch
        axes.axvline(best, color=BEST, linewidth=1, linestyle=":", label=f"kept: epoch {best}")
        axes.set_xlabel("epoch")
        axes.legend(frameon=False, fontsize=9)
    return figure


def draw_confusion(summary: RunSummary) -> Figure:
    """Draw the confusion matrix of the test split, shares of each true class in colour."""
    counts: Array = summary.training.test_scores.confusion
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = 1.2 + 0.5 * len(counts)
    figure, axes = _figure(size + 0.4, size)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        color = "white" if share > 0.6 else INK
        axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(counts)), summary.labels)
    axes.set_yticks(range(len(counts)), summary.labels)
    axes.set_xlabel("given")
    axes.set_ylabel("true")
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _unit(joules: float) -> tuple[float, str]:
    return (1e-6, "µJ") if joules < 1e-3 else (1e-3, "mJ") if joules < 1 else (1.0, "J")


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
