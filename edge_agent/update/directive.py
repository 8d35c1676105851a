"""What the agent is told to run, and what it tells of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from headtail.errors import HeadtailError
from headtail.fault import Fault


@dataclass(frozen=True, slots=True)
class Directive:
    """The bundle that this agent shall run from now on."""

    digest: str
    """SHA-256 of the canonical manifest, hexadecimal."""
    name: str
    version: str
    reason: str = ""
    """Why, for the log."""
    size_bytes: int = 0
    """Of the file; 0: unknown."""
    attempt: int = 0
    """A bundle that failed here is tried again when this is larger than it was."""
    is_rollback: bool = False
    """The version may be older than what runs: somebody went back on purpose."""

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.digest[:12]})"


class Stage(StrEnum):
    """How far an update has come."""

    FETCHING = "fetching"
    TESTING = "testing"
    TRIAL = "trial"
    """It takes the windows, and its first ones are watched."""
    CONFIRMED = "confirmed"
    """It runs, and its first windows were good."""
    FAILED = "failed"
    """It took no window; the one before runs."""
    ROLLED_BACK = "rolled_back"
    """It took windows; the one before runs again."""


ENDS = (Stage.CONFIRMED, Stage.FAILED, Stage.ROLLED_BACK)
"""The stages that end an attempt."""


class UpdateFailed(HeadtailError):
    """An update came to nothing; the bundle before runs."""

    def __init__(self, fault: Fault, reason: str) -> None:
        self.fault = fault
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Report:
    """How an update stands."""

    directive: Directive
    stage: Stage
    fault: Fault = Fault.NONE
    reason: str = ""
    """One line, where something went wrong."""


class Superior(Protocol):
    """Whoever gives directives: a fog, or a test."""

    def fetch(self, directive: Directive, write: Callable[[bytes], object]) -> None:
        """Hand the file of a directive's bundle to `write`, in pieces.

        Raises:
            RemoteError: If it cannot be had now.
        """
        ...

    def report(self, report: Report) -> None:
        """Take note; never blocks, never raises."""
        ...
