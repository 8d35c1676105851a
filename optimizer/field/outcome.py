"""What a lesson changes in the choice of a partition point."""

from dataclasses import dataclass

from optimizer.field.lesson import Lesson
from optimizer.partition import Row


@dataclass(frozen=True, slots=True)
class FieldOutcome:
    """What was learned, and which choice it makes another."""

    lesson: Lesson
    objective: str
    """Of the partition."""
    before: Row | None
    """What the profiles as they were would choose, at their prices; None where nothing."""
    before_now: Row | None
    """The same at the corrected prices."""
    after: Row
    """The run's choice, at the corrected prices."""
