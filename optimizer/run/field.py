"""The stage in which a run learns from the field, and what that changes in its choice."""

from collections.abc import Sequence
from functools import reduce

import msgspec

from headtail.bundle.manifest import Point, Segment
from headtail.errors import SearchError
from headtail.operations import Operations
from optimizer.field.lesson import Lesson, learn
from optimizer.field.outcome import FieldOutcome
from optimizer.package.points import Profiles, predict_costs
from optimizer.partition import Row
from optimizer.progress import Reporter
from optimizer.recipe.recipe import Recipe
from optimizer.run.points import Pricing
from optimizer.run_folder import RunFolder

FIELD = "field.json"


def learn_or_restore(
    recipe: Recipe, profiles: Profiles, folder: RunFolder, reporter: Reporter
) -> Lesson | None:
    """Return what [field] teaches, from the folder where it was asked before.

    Prometheus is asked once: an interrupted run goes on with what it said then, and ends with the
    same digest. None where the recipe names none.

    Raises:
        DataError: If Prometheus cannot be asked, or knows too little of the model.
    """
    config = recipe.field
    if config is None or not config.prometheus:
        return None
    lesson = folder.read_record(FIELD, Lesson)
    if lesson is None:
        with reporter.stage("learn from the field"):
            lesson = learn(config, recipe.name, profiles.devices[0], profiles.links[0])
        folder.write_record(FIELD, lesson)
    changed = ", ".join(
        f"{c.constant} {c.before:.4g} to {c.after:.4g} {c.unit}" for c in lesson.changes
    )
    reporter.say(f"learned of {lesson.seen.windows:.0f} windows: {changed or 'nothing new'}")
    return lesson


def compare_choices(
    lesson: Lesson,
    pricing: Pricing,
    points: tuple[Point, ...],
    segments: Sequence[Segment],
) -> FieldOutcome:
    """Return the run's choice against that of the profiles as they were.

    Args:
        lesson: What was learned.
        pricing: With it.
        points: As the run priced them.
        segments: Of the bundle.
    """
    old = Profiles((lesson.base_device,), (lesson.base_link,))
    repriced = tuple(_reprice(point, segments, old) for point in points)
    then = Pricing(pricing.recipe, old)
    choice = pricing.choose(points)
    now = {(row.point, row.encoding): row for row in pricing.rows(points)}
    before: Row | None = None
    try:
        chosen = then.choose(repriced)
    except SearchError:  # nothing was within the bounds
        chosen = None
    if chosen is not None:
        before = next(r for r in then.rows(repriced) if (r.point, r.encoding) == chosen[:2])
    return FieldOutcome(
        lesson=lesson,
        objective=pricing.recipe.partition.objective,
        before=before,
        before_now=None if before is None else now[before.point, before.encoding],
        after=now[choice.point, choice.encoding],
    )


def _reprice(point: Point, segments: Sequence[Segment], profiles: Profiles) -> Point:
    head = reduce(Operations.__add__, (s.operations for s in segments[: point.index]), Operations())
    return msgspec.structs.replace(point, costs=predict_costs(head, point.encodings, profiles))
