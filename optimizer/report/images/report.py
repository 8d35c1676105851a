"""The report of a run on images: its figures for machines and one page."""

from optimizer.report.images.figures import image_figures
from optimizer.report.images.summary import ImageSummary
from optimizer.run_folder import RunFolder


def write_image_report(summary: ImageSummary, folder: RunFolder) -> None:
    """Write report.json into a run's folder."""
    folder.write("report.json", image_figures(summary))
