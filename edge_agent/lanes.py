"""Which streams are open, which one is sent on, and what becomes of their fogs: the link's state.

Pure but for the log: times come in, and the link's lock guards every call.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_agent.backoff import delays
from edge_agent.fog_client import FogClient, FogStream
from edge_agent.fogs import Fog, Fogs
from edge_agent.lane import Lane
from edge_agent.link_counts import LinkCounts
from headtail.errors import (
    FogUnavailable,
    ModelNotFound,
    NotAllowed,
    Overloaded,
    RemoteError,
    RequestInvalid,
    Unauthenticated,
)

log = logging.getLogger(__name__)

HALF_CLOSED_S = 5.0
"""Longest life of a lane on which nothing is sent any more, beyond its windows' deadlines."""
REFUSED_S = 60.0
"""How long a fog that refused us is left alone at least."""
PAUSE_JITTER = 0.25
"""Share of a pause by which it is prolonged at most, so that agents do not end it together."""
REFUSALS = (ModelNotFound, RequestInvalid)
"""A mistake somebody must mend: where every fog makes it, the run ends."""
DENIALS = (Unauthenticated, NotAllowed)
"""May be mended while we run, by another certificate or another entry in the fog's list."""
UNANSWERED = ("silent", "missed")
"""Losses after which a connection alone proves nothing: the fog must answer a window."""
SICK = (*UNANSWERED, "malformed", "draining")
"""Losses after which a fog is given a dwell to mend, where there are others."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the link is with its fogs."""

    first_s: float = 0.2
    """Largest first delay between attempts."""
    cap_s: float = 5.0
    """Largest delay ever."""
    max_misses: int = 5
    """Windows in a row that may bring no answer before the fog counts as away."""
    dwell_s: float = 10.0
    """Shortest stay with a fog before going back to a more preferred one."""


class Lanes:
    """At most one lane in use and one on trial; the rest are half-closed and finish."""

    def __init__(self, clients: Sequence[FogClient], policy: Policy, rng: random.Random) -> None:
        """Begin with none; `rng` is the source of every jitter."""
        self._policy = policy
        self._rng = rng
        self.counts = LinkCounts()
        self.fogs = Fogs(clients, self._delays, policy.max_misses, policy.dwell_s)
        self.open: list[Lane] = []
        self.active: Lane | None = None
        self.trial: Lane | None = None
        """Must answer one window before it is used: of a fog that was left for not answering, or
        of one to go back to. Meanwhile the other windows go where they went."""
        self.has_tried = False
        """Whether a fog was connected, or none was to be had at the first attempt."""
        self._last: Fog | None = None
        self._not_before_s = float("-inf")

    @property
    def is_hopeless(self) -> bool:
        """Whether every fog refuses us for what no repetition will mend."""
        return all(isinstance(fog.refusal, REFUSALS) for fog in self.fogs)

    def next_lane(self) -> Lane | None:
        """Return the lane for the next window."""
        trial = self.trial
        return self.active if trial is None or trial.pending else trial

    def next_turn(self, now_s: float) -> tuple[Fog | None, float]:
        """Return the fog to try now, or None, and when to ask again (infinity: after a change)."""
        if self.active is None and now_s < self._not_before_s:
            return None, self._not_before_s
        if self.active is None:
            # While one fog is on trial another may serve, if it needs none.
            return self.fogs.next_turn(now_s, None, now_s, without_trial=self.trial is not None)
        if self.trial is not None:
            return None, float("inf")
        return self.fogs.next_turn(now_s, self.active.fog, self.active.since_s)

    def not_connected(self, fog: Fog, error: RemoteError, now_s: float) -> None:
        """Note a failed attempt."""
        self.counts.attempts[outcome_of(error)] += 1
        self._trip(fog, error, now_s)
        fog.is_tried = True
        if self.has_tried or not self.fogs.are_tried:
            return
        self.has_tried = True
        if self.active is None and not isinstance(error, REFUSALS + DENIALS):
            log.warning("fog away: %s; finishing on the edge", error)

    def adopt(self, fog: Fog, stream: FogStream, now_s: float) -> Lane:
        """Take a stream into use, or on trial; one that came too late is half-closed at once."""
        lane = Lane(fog, stream, now_s, now_s)
        self.open.append(lane)
        self.counts.attempts["connected"] += 1
        fog.refusal, fog.is_tried = None, True
        fog.breaker.connected(now_s)
        is_better = self.active is None or fog.rank < self.active.fog.rank
        if self.active is None and not fog.breaker.needs_trial:
            self._use(lane, now_s)
        elif is_better and self.trial is None:
            self.trial = lane
        else:
            self._half_close(lane, now_s)
        self.has_tried = True
        return lane

    def prove(self, lane: Lane, now_s: float) -> None:
        """Note a lane's first answer."""
        lane.is_proved = True
        lane.fog.breaker.answered()
        if lane is self.trial:
            self._use(lane, now_s)
        elif lane is self.active and not lane.is_announced:
            self._announce(lane)

    def pause(self, lane: Lane, error: Overloaded, now_s: float) -> str:
        """Send nothing for as long as the fog asks; return why to leave it instead, or ""."""
        jitter_ratio = PAUSE_JITTER * self._rng.random()
        until_s = now_s + (1.0 + jitter_ratio) * error.retry_delay_s
        lane.paused_until_s = max(lane.paused_until_s, until_s)
        is_long = len(self.fogs) > 1 and error.retry_delay_s >= self._policy.dwell_s
        return "overloaded" if is_long or lane is self.trial else ""

    def leave(self, lane: Lane, reason: str, error: RemoteError | None, now_s: float) -> None:
        """Send nothing more on a lane; what was sent may still be answered."""
        if self.step_down(lane, reason, error, now_s):
            self._half_close(lane, now_s)

    def step_down(self, lane: Lane, reason: str, error: RemoteError | None, now_s: float) -> bool:
        """Take a lane out of use, and leave its fog alone; return whether it was in use.

        Args:
            lane: Of any kind; one that is half-closed stays as it is.
            reason: One of `link_counts.LOSSES`.
            error: What the fog did, where it did something wrong.
            now_s: Now.
        """
        if lane is self.active:
            self.active = None
            # All agents of a fog lose it at once; they must not come to the next one together.
            self._not_before_s = now_s + next(self._delays())
        elif lane is self.trial:
            self.trial = None
        else:
            return False
        self.counts.losses[reason] += 1
        is_sick = reason in SICK and len(self.fogs) > 1
        self._trip(lane.fog, error, now_s, at_least_s=self._policy.dwell_s if is_sick else 0.0)
        lane.fog.breaker.needs_trial |= reason in UNANSWERED
        if lane.is_announced and not isinstance(error, REFUSALS + DENIALS):
            log.warning(
                "fog lost: %s; finishing on the edge", error or f"{lane.fog.client.fog} drains"
            )
        return True

    def _use(self, lane: Lane, now_s: float) -> None:
        """Send on this lane from now on; the one before is half-closed."""
        before, trial = self.active, self.trial
        self.active, lane.since_s = lane, now_s
        if trial is not None and lane.fog.rank <= trial.fog.rank:
            self.trial = None
        for other in (before, trial):
            if other is not None and other not in (self.active, self.trial):
                self._half_close(other, now_s)
        # A fog that was lost early must answer before the log believes in it.
        if lane.is_proved or not lane.fog.breaker.relapses:
            self._announce(lane)

    def _announce(self, lane: Lane) -> None:
        """Log a change of the fog in use, once."""
        lane.is_announced = True
        last, self._last, fog = self._last, lane.fog, lane.fog.client.fog
        if last is None:
            log.info("fog %s: %s", "back" if self.has_tried else "connected", fog)
        elif last is lane.fog:
            log.info("fog back: %s", fog)
        else:
            self.counts.switches["return" if lane.fog.rank < last.rank else "failover"] += 1
            log.info("fog changed: %s to %s", last.client.fog, fog)

    def _half_close(self, lane: Lane, now_s: float) -> None:
        """Tell the fog that no more will come."""
        lane.closes_s = now_s + HALF_CLOSED_S
        lane.stream.finish()

    def _trip(
        self, fog: Fog, error: RemoteError | None, now_s: float, at_least_s: float = 0.0
    ) -> None:
        """Leave a fog alone for a while."""
        if isinstance(error, Overloaded):
            at_least_s = max(at_least_s, error.retry_delay_s)
        if isinstance(error, REFUSALS + DENIALS):
            at_least_s = max(at_least_s, REFUSED_S)
            is_known, fog.refusal = fog.refusal is not None, error
            if not is_known and not self.is_hopeless:
                log.warning("fog set aside: %s; trying again every %g s", error, REFUSED_S)
        fog.breaker.trip(now_s, at_least_s)

    def _delays(self) -> Iterator[float]:
        return delays(self._policy.first_s, self._policy.cap_s, self._rng)


def outcome_of(error: RemoteError) -> str:
    """Return the word under which a failed attempt is counted."""
    if isinstance(error, REFUSALS):
        return "refused"
    if isinstance(error, DENIALS):
        return "denied"
    if isinstance(error, Overloaded):
        return "overloaded"
    return "unavailable" if isinstance(error, FogUnavailable) else "failed"
