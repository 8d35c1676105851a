"""The report of a run: drawings, a Markdown page, one self-contained HTML page and its figures."""

from optimizer.report.comparison import draw_comparison
from optimizer.report.figures import figures
from optimizer.report.markdown import markdown
from optimizer.report.network import draw_network
from optimizer.report.page import render_page
from optimizer.report.points import draw_points
from optimizer.report.radio import draw_radio, radio_rows
from optimizer.report.rebuild import rebuild
from optimizer.report.repeats import draw_repeats
from optimizer.report.summary import RunSummary
from optimizer.report.training import draw_confusion, draw_training
from optimizer.run_folder import RunFolder


def write_report(summary: RunSummary, folder: RunFolder) -> None:
    """Write report.html, report.md, report.json and the drawings as SVG files into a run's folder.

    What is drawn of search and training is read from the folder's history.
    """
    drawn = draw(summary) | rebuild(folder.path)
    for name, svg in drawn.items():
        folder.write(f"plot_{name}.svg", svg.encode("utf-8"))
    folder.write("report.md", markdown(summary).encode("utf-8"))
    folder.write("report.json", figures(summary))
    folder.write("report.html", render_page(summary, drawn).encode("utf-8"))


def draw(summary: RunSummary) -> dict[str, str]:
    """Return every drawing but those of a search as SVG text by name."""
    drawn = {
        "network": draw_network(summary),
        "points": draw_points(summary),
        "radio": draw_radio(radio_rows(summary)),
        "confusion": draw_confusion(summary.training.test_scores.confusion, summary.labels),
        **draw_training(summary.training.epochs, summary.recipe.train),
    }
    if summary.statistics is not None and summary.statistics.repeats:
        drawn |= draw_repeats(summary.statistics)
    if summary.comparison is not None:
        comparison = draw_comparison(summary, summary.comparison.rows)
        drawn |= {"comparison": comparison} if comparison else {}
    return drawn
