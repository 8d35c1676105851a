"""How a request for a better model may end."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """Exit codes; those that both have are those of the operators' commands of `fog-server`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    AWAY = 3
    REFUSED = 4
    SUPERSEDED = 5
    DENIED = 6
    INVALID = 7
    FULL = 8
    JOB_FAILED = 9
    ROLLED_BACK = 10
    LATE = 11
    ROLLED_BACK_BEFORE = 12


WORDS = (
    "promoted",
    "nothing_better",
    *(code.name.lower() for code in Code if code not in (Code.DONE, Code.USAGE)),
)
"""What became of requests that were to change something."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request."""

    code: Code
    word: str
    """promoted, nothing_better, would_run, or what stopped it, in lower case."""
    text: str
    """One line."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What `--json` adds."""


class Stopped(Exception):
    """A request that cannot go on; its text is one line."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(" ".join(reason.split()))
        self.code = code


def stopped_outcome(stopped: Stopped, facts: dict[str, Any]) -> Outcome:
    """Return the outcome of a request that could not go on."""
    return Outcome(stopped.code, stopped.code.name.lower(), str(stopped), facts)
