"""What happens by itself: following other servers, judging canaries, and tidying up."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from fog_server.config import Rollout as Settings
from fog_server.rollout.agents import Agents
from fog_server.rollout.assignment import volunteer
from fog_server.rollout.changes import with_volunteer
from fog_server.rollout.database import Database, TailCounts
from fog_server.rollout.follower import Follower
from fog_server.rollout.judge import Evidence, Judgement, Verdict, judge
from fog_server.rollout.measurements import Agent, Counts
from fog_server.rollout.rollouts import Order, Ref, Rollouts
from fog_server.rollout.state import Model, State
from fog_server.rollout.vault import Vault
from headtail.errors import HeadtailError, Superseded

log = logging.getLogger(__name__)

RULE, GRACE = "rule", "grace"
"""Who the fog itself is in the events."""
TIDY_S = 30.0
_SETTLED = 2.0


class Keeper:
    """One round of it is `tick`; a thread of its own makes them."""

    def __init__(
        self,
        settings: Settings,
        parts: tuple[Database, Vault, Follower, Agents, Rollouts],
        changed: Callable[[], None],
        judged: Callable[[str, Judgement], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep the parts of a rollout going.

        Args:
            settings: How often, and for how long.
            parts: Looked after.
            changed: Called after each round: somebody may be told to run something else.
            judged: Hears of every judgement of a canary, by model.
            clock: Unix time, in seconds.
        """
        self._settings = settings
        self._database, self._vault, self._follower, self._agents, self._rollouts = parts
        self._changed = changed
        self._judged = judged
        self._clock = clock
        self._tidied_at_s = float("-inf")
        self._said = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollout", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End after the round that runs; what was reported is written."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._write()

    def tick(self) -> None:
        """Write what was reported, follow others, decide, tidy up, and tell."""
        self._write()
        self._follower.refresh()
        for model in list(self._database.models().values()):
            if model.canary is not None:
                self._ask_in(model)
                self.decide(model.name)
        now = self._clock()
        if now - self._tidied_at_s >= TIDY_S:
            self._tidied_at_s = now
            self._tidy(now)
        self._changed()

    def decide(self, name: str) -> Judgement | None:
        """Judge the canary of a model, and promote it or roll it back if that is due."""
        model = self._rollouts.model(name)
        judgement = self.judgement(model)
        if model.canary is None or judgement is None:
            return None
        self._judged(name, judgement)
        order = Order(RULE, judgement.reason, model.generation)
        try:
            if judgement.verdict is Verdict.FAILED:
                self._rollouts.roll_back(name, order)
            elif judgement.verdict is Verdict.PASSED and model.canary.rules.promotes:
                self._rollouts.promote(Ref(name, digest=model.canary.digest), order)
        except Superseded:
            pass  # another server, or somebody, was first
        return judgement

    def judgement(self, model: Model) -> Judgement | None:
        """Return how a model's canary stands; None where there is none."""
        canary, active = model.canary, model.active
        if canary is None or active is None:
            return None
        # Some more than those of the trial, which their reports tell: clocks may be put back.
        since_s = canary.started_at_s - self._settings.lost_s
        agents = self._agents.known(model.name, since_s)
        tails = self._database.tails(model.name, canary.attempt)
        faults = [_fault(a) for a in agents if a.blames(canary.digest, canary.attempt)]
        if canary.digest in self._follower.broken:
            faults.append(self._follower.broken[canary.digest])
        during = _by_profile((a, a.total(active.digest, canary.attempt)) for a in agents)
        before = _by_profile((a, a.before(active.digest, canary.attempt)) for a in agents)
        return judge(
            canary.rules,
            Evidence(
                max(0.0, self._clock() - canary.started_at_s),
                _by_profile((a, a.total(canary.digest, canary.attempt)) for a in agents),
                {**before, **during},
                tails.get(canary.digest, TailCounts()),
                tails.get(active.digest, TailCounts()),
                canary.sample_windows,
                canary.sample_agreed,
                canary.is_priced_alike,
                faults,
            ),
        )

    def _write(self) -> None:
        self._agents.flush()
        counts = self._follower.take_counts()
        if counts:
            self._database.add_tails(counts)

    def _ask_in(self, model: Model) -> None:
        assert model.canary is not None
        if self._clock() - model.canary.started_at_s < _SETTLED * self._settings.report_s:
            return  # who is in the share may not have been heard yet
        attempt = model.canary.attempt
        agents = [agent.report.agent for agent in self._agents.known(model.name)]
        asked = volunteer(model.canary, agents)
        if asked is None:
            return

        def step(now: Model) -> Model:
            is_same = now.canary is not None and now.canary.attempt == attempt
            is_wanted = now.canary is not None and volunteer(now.canary, agents) == asked
            return with_volunteer(now, asked) if is_same and is_wanted else now

        self._database.change(model.name, step)
        log.info("%s: no agent is in the canary's share; %s runs it", model.name, asked)

    def _tidy(self, now: float) -> None:
        for model in list(self._database.models().values()):
            self._remove_old(model, now)
        self._agents.forget()
        with self._database.locked() as models:
            self._vault.sweep(e.path for m in models.values() for e in m.bundles if e.is_stored)

    def _remove_old(self, model: Model, now: float) -> None:
        since = now - self._settings.grace_s
        old = [
            e
            for e in model.bundles
            if e.state is State.RETIRED
            and e.is_stored
            and e.digest != model.previous
            and e.changed_at_s <= since
        ]
        if not old:
            return
        agents = self._agents.known(model.name, min(since, now - self._settings.lost_s))
        running = {agent.report.digest for agent in agents}
        for entry in old:
            if entry.digest not in running:
                self._rollouts.remove(model, entry, Order(GRACE, "no agent runs it"))

    def _run(self) -> None:
        while not self._ended.wait(self._settings.poll_s):
            try:
                self.tick()
                self._said = ""
            except HeadtailError as error:
                if str(error) != self._said:
                    log.error("rollout: %s", error)
                self._said = str(error)


def _by_profile(found: Iterable[tuple[Agent, Counts]]) -> dict[str, Counts]:
    """Return sums by device profile, without what never ran a window."""
    sums: dict[str, Counts] = {}
    for agent, counts in found:
        if counts.windows or counts.failed:
            profile = agent.report.device_profile
            sums[profile] = sums.get(profile, Counts()).plus(counts)
    return sums


def _fault(agent: Agent) -> str:
    report = agent.report
    return f"agent {report.agent} gave it up: {report.fault}: {report.reason or report.state}"
