"""The report of a run on images as Markdown, for a place that shows no pages."""

from optimizer.report.images.costs import retained_table, trained_table
from optimizer.report.images.pruning_section import steps_table
from optimizer.report.images.summary import ImageSummary
from optimizer.report.images.text import image_lines
from optimizer.report.markdown import confusion_table, markdown_table
from optimizer.report.text import points_table


def image_markdown(summary: ImageSummary) -> str:
    """Return the report as Markdown."""
    lines = "\n".join(f"- {line}" for line in image_lines(summary))
    parts = [f"# {summary.recipe.name} {summary.recipe.version}", lines]
    parts.append(f"Bundle `{summary.bundle}`, digest `{summary.packed.digest}`.")
    if summary.pruned is not None:
        steps = steps_table(summary, summary.pruned)
        parts += ["## Pruning", markdown_table(steps.head, steps.rows)]
    if summary.costs is not None:
        parts.append("## Costs")
        for shown in (trained_table(summary.costs), retained_table(summary.costs)):
            parts.append(markdown_table(shown.head, shown.rows))
    parts += ["## Confusion on the test split", markdown_table(*confusion_table(summary))]
    parts += ["## Partition points", markdown_table(*points_table(summary))]
    return "\n\n".join(parts) + "\n"
