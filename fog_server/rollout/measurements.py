"""What agents report of the bundles they run, and what of it belongs to the trial that runs."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from headtail.fault import BUNDLES_OWN, Fault

MAX_DIGESTS = 8
"""Bundles that are remembered of one agent."""
MOST = 1 << 53
"""Largest count or sum; beyond it a float is no longer exact."""
STALE_S = 60.0
"""A report older than this, when a trial begins, says nothing of what lies between."""


class UpdateState(StrEnum):
    """How far an agent has come with the bundle it was told to run.

    In the order of the numbers of `headtail.v1.UpdateState`.
    """

    NONE = "none"
    FETCHING = "fetching"
    TESTING = "testing"
    TRIAL = "trial"
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class Counts(msgspec.Struct, frozen=True):
    """Sums over windows."""

    windows: int = 0
    failed: int = 0
    fallback: int = 0
    energy_j: float = 0.0
    latency_s: float = 0.0
    shadowed: int = 0
    agreed: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Return the sum, as far as it can be written down."""
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Counts(*(min(a + b, MOST) for a, b in zip(mine, theirs, strict=True)))

    def minus(self, other: "Counts") -> "Counts":
        """Return the difference, nothing below 0."""
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Counts(*(max(0, a - b) for a, b in zip(mine, theirs, strict=True)))


class Report(msgspec.Struct, frozen=True):
    """What an agent says of itself."""

    agent: str
    name: str
    digest: str = ""
    previous_digest: str = ""
    state: UpdateState = UpdateState.NONE
    target_digest: str = ""
    fault: Fault = Fault.NONE
    reason: str = ""
    generation: int = 0
    run_id: str = ""
    device_profile: str = ""
    tallies: dict[str, Counts] = {}
    """By bundle, since the agent's `run_id` began."""

    @property
    def is_failure(self) -> bool:
        """Whether the last update did not end well."""
        return self.state in (UpdateState.FAILED, UpdateState.ROLLED_BACK)


class Measured(msgspec.Struct, frozen=True):
    """One bundle on one agent."""

    run_id: str
    last: Counts
    attempt: int
    """The trial that `total` belongs to; 0 is none."""
    total: Counts
    before: Counts = Counts()
    """What had been counted when the trial began."""


class Agent(msgspec.Struct, frozen=True):
    """Everything known of one agent."""

    report: Report
    heard_at_s: float
    measured: dict[str, Measured] = {}

    def total(self, digest: str, attempt: int) -> Counts:
        """Return what a bundle did during a trial."""
        found = self.measured.get(digest)
        return found.total if found is not None and found.attempt == attempt else Counts()

    def before(self, digest: str, attempt: int) -> Counts:
        """Return what a bundle had done before a trial."""
        found = self.measured.get(digest)
        return found.before if found is not None and found.attempt == attempt else Counts()

    def blames(self, digest: str, attempt: int) -> bool:
        """Return whether the agent gave a bundle up for its own fault, in this trial."""
        report = self.report
        return (
            report.is_failure
            and report.target_digest == digest
            and report.generation >= attempt
            and (report.fault in BUNDLES_OWN or report.state is UpdateState.ROLLED_BACK)
        )


class Trial(msgspec.Struct, frozen=True):
    """The trial that runs: its number, the bundle on trial, and when it began."""

    attempt: int = 0
    digest: str = ""
    started_at_s: float = 0.0


def learn(old: Agent | None, report: Report, now_s: float, trial: Trial) -> Agent:
    """Return what is known of an agent after a report.

    Counts never fall within one run of an agent; in a new run they begin at nothing.
    """
    known = {} if old is None else old.measured
    is_fresh = old is not None and old.heard_at_s >= trial.started_at_s - STALE_S
    measured = {
        digest: _measured(known.get(digest), digest, report, counts, trial, is_fresh=is_fresh)
        for digest, counts in list(report.tallies.items())[:MAX_DIGESTS]
    }
    return Agent(report, now_s, _latest(known, measured))


def _measured(
    old: Measured | None,
    digest: str,
    report: Report,
    counts: Counts,
    trial: Trial,
    *,
    is_fresh: bool,
) -> Measured:
    is_same_run = old is not None and old.run_id == report.run_id
    if old is not None and is_same_run:
        more = counts.minus(old.last)
    elif old is not None or digest == trial.digest:
        more = counts
    else:
        more = Counts()
    if old is not None and old.attempt == trial.attempt:
        return Measured(report.run_id, counts, trial.attempt, old.total.plus(more), old.before)
    is_of_trial = is_fresh or digest == trial.digest
    before = old.last if old is not None else counts.minus(more)
    return Measured(report.run_id, counts, trial.attempt, more if is_of_trial else Counts(), before)


def _latest(known: Mapping[str, Measured], new: Mapping[str, Measured]) -> dict[str, Measured]:
    """Return both, the new ones last and the oldest forgotten."""
    kept = {d: m for d, m in known.items() if d not in new}
    merged = {**kept, **new}
    return dict(list(merged.items())[-MAX_DIGESTS:])
