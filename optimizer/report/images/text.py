"""The report of a run on images in words: lines for the terminal."""

from collections.abc import Iterator

from optimizer.report.images.summary import ImageSummary
from optimizer.report.text import chosen_lines, describe_scores


def image_lines(summary: ImageSummary) -> Iterator[str]:
    """Yield what a person wants to know at the end of a run."""
    recipe, data = summary.recipe, summary.data
    yield f"data    {data['name']}, protocol {data['protocol']}{_skipped(summary)}"
    yield f"model   {recipe.backbone.network}, {summary.parameters} parameters"
    yield f"trained {describe_scores(summary.adapted.test_scores)}"
    if summary.freezing is not None:
        freezing = summary.freezing
        yield (
            f"freeze  {freezing.mask.count('1')} of {len(freezing.mask)} layers trained on:"
            f" {describe_scores(freezing.test_scores)}"
        )
    if summary.pruned is not None:
        pruned = summary.pruned
        yield (
            f"prune   {pruned.last.macs / pruned.macs:.1%} of the multiply-accumulates,"
            f" {pruned.last.channels} of {pruned.channels} channels left"
        )
    yield f"test    {describe_scores(summary.training.test_scores)}"
    yield from chosen_lines(summary)


def _skipped(summary: ImageSummary) -> str:
    count = summary.data.get("skipped", 0)
    return f", {count} images skipped" if count else ""
