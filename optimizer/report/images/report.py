"""The report of a run on images: its figures for machines and one page."""

from optimizer.report.images.figures import image_figures
from optimizer.report.images.heatmaps import Heatmap
from optimizer.report.images.markdown import image_markdown
from optimizer.report.images.page import render_image_page
from optimizer.report.images.summary import ImageSummary
from optimizer.run_folder import RunFolder


def write_image_report(
    summary: ImageSummary, heatmaps: tuple[Heatmap, ...], folder: RunFolder
) -> None:
    """Write report.json, report.md and report.html, which holds all it shows, into a folder."""
    folder.write("report.json", image_figures(summary))
    folder.write("report.md", image_markdown(summary).encode("utf-8"))
    folder.write("report.html", render_image_page(summary, heatmaps).encode("utf-8"))
