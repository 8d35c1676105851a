"""What a report says of the captured inputs that a run used."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from optimizer.data.captured import Captured

NOTE = "captured"
"""Where the data's lineage has them."""


def captured_text(data: Mapping[str, Any]) -> str | None:
    """Return a sentence or two on captured inputs; None where the run was given none.

    Args:
        data: The data set's lineage.
    """
    if NOTE not in data:
        return None
    found = msgspec.convert(data[NOTE], Captured)
    text = str(found)
    if found.windows:
        first, last = (_day(s) for s in (found.oldest_s, found.newest_s))
        text += (
            f"; seen by {found.agents} agents with {', '.join(found.bundles)}, {first} to {last}."
            " They set ranges and first weights, and those with a label were trained on;"
            " validation and test hold none of them"
        )
    return text


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).date().isoformat()
