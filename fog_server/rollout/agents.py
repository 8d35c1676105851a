"""The agents: what each is told to run, and what each reports."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from fog_server.rollout.assignment import runs_canary
from fog_server.rollout.database import MAX_AGENTS, AgentRow, Database
from fog_server.rollout.measurements import Agent, Report, Trial, learn
from fog_server.rollout.state import Entry, Model
from headtail.errors import ModelNotFound, Overloaded

FORGOTTEN_S = 30 * 86400.0
"""Silence after which an agent is forgotten."""


class Directive(NamedTuple):
    """What one agent should run."""

    name: str
    entry: Entry
    is_canary: bool
    reason: str
    generation: int
    is_rollback: bool
    shadow_digest: str
    shadow_ratio: float


class Agents:
    """Directives from the state, and reports to the database; several threads may use it."""

    def __init__(
        self, database: Database, lost_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Agents not heard of for `lost_s` no longer count; `clock` is Unix time, in seconds."""
        self._database = database
        self._lost_s = lost_s
        self._clock = clock
        self._lock = threading.Lock()
        self._reports: dict[tuple[str, str], Report] = {}

    def directive(self, name: str, agent: str) -> Directive:
        """Return what an agent should run.

        Raises:
            ModelNotFound: If no bundle of that name is active.
        """
        models = self._database.models()
        model = models.get(name)
        if model is None or model.active is None:
            raise ModelNotFound(name, "", [m.name for m in models.values() if m.active])
        return direct(model, agent)

    def report(self, report: Report) -> None:
        """Take a report; it is written soon, and at once where an update went wrong.

        Raises:
            Overloaded: If very many wait to be written.
        """
        with self._lock:
            if len(self._reports) >= MAX_AGENTS:
                raise Overloaded("fog", f"{len(self._reports)} reports wait", 1.0)
            self._reports[report.name, report.agent] = report
        if report.is_failure:
            self.flush()

    def flush(self) -> None:
        """Write every report that came."""
        with self._lock:
            reports, self._reports = self._reports, {}
        if not reports:
            return
        now = self._clock()
        trials = {name: _trial(model) for name, model in self._database.models().items()}

        def update(name: str, agent: str, content: bytes | None) -> AgentRow:
            old = None if content is None else msgspec.json.decode(content, type=Agent)
            trial = trials.get(name, Trial())
            new = learn(old, reports[name, agent], now, trial)
            return AgentRow(name, agent, now, msgspec.json.encode(new))

        self._database.update_agents(list(reports), update)

    def known(self, name: str, heard_after_s: float | None = None) -> Sequence[Agent]:
        """Return the agents heard of since, or lately."""
        since = self._clock() - self._lost_s if heard_after_s is None else heard_after_s
        rows = self._database.agents(name, since)
        return [msgspec.json.decode(row.content, type=Agent) for row in rows]

    def forget(self) -> None:
        """Forget agents that have been silent for a month."""
        self._database.forget_agents(self._clock() - FORGOTTEN_S)


def direct(model: Model, agent: str) -> Directive:
    """Return what an agent should run; a bundle of the model is active."""
    entry, is_canary = model.active, False
    shadow_digest, shadow_ratio = "", 0.0
    assert entry is not None
    canary, on_trial = model.canary, model.on_trial
    if canary is not None and on_trial is not None and runs_canary(canary, agent):
        shadow_digest, shadow_ratio = entry.digest, canary.rules.shadow_ratio
        entry, is_canary = on_trial, True
    return Directive(
        model.name,
        entry,
        is_canary,
        entry.reason,
        model.generation,
        model.is_rollback(entry),
        shadow_digest,
        shadow_ratio,
    )


def _trial(model: Model) -> Trial:
    canary = model.canary
    if canary is None:
        return Trial()
    return Trial(canary.attempt, canary.digest, canary.started_at_s)
