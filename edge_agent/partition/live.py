"""The partition point chosen while the agent runs: estimates in, predictions, a choice out.

Several threads meet here: the run's thread asks for plans and sends, readers bring answers, gRPC's
own thread brings what probes found. Each call holds the lock for microseconds.
"""

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_agent.lane import Lane
from edge_agent.link import FogLink
from edge_agent.meter import EnergyMeter
from edge_agent.partition.choose import Calm, Chooser, Objective
from edge_agent.partition.device import DeviceEstimate
from edge_agent.partition.fog_estimate import FogEstimate
from edge_agent.partition.offer import Option
from edge_agent.partition.outlook import Outlook, State
from edge_agent.partition.predict import FRAMING_BYTES, Predictor, Vector
from edge_agent.partition.probing import FREE, Call, Price, Probing
from edge_agent.partition.uplink import Uplink
from edge_agent.plan import Plan
from edge_agent.underway import Finish, Prediction, Underway

log = logging.getLogger(__name__)

DECIDE_S = 0.1
"""Least time between two decisions, unless something has jumped."""
EXPLORE_FIRST_S, EXPLORE_S = 2.0, 30.0
"""Time without the fog until a window is sent only to hear how it does; it doubles, up to this."""
HOPE = 0.9
"""What may be hoped for its tails, over what they usually take."""
EXPLORE_RATIO, EXPLORE_SHARE = 1.0, 0.02
"""What such a window may cost more: as much as another costs, or of the cost of all since."""
REASONS = ("link", "device", "fog", "drift", "explore", "unserved")
"""Why the plan changes: what has jumped before, none of it, or to hear of the fog."""
BLAME_PROBES = 4
"""That tell whether a link is to blame for a late answer."""
LATE = ("deadline",)
"""Fallbacks that say how slow the link is, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """How a plan is chosen."""

    objective: Objective = field(default_factory=Objective)
    calm: Calm = field(default_factory=Calm)
    probe_s: float = 1.0
    """Least time between two empty calls to an idle fog."""
    patience_s: float = 1.0
    """How long the first window may wait until probes have told what link this is."""
    room: int = 1
    """Windows that may be under way."""


class LivePartition:
    """Chooses the plan of each window; an agent's pilot."""

    def __init__(
        self,
        options: Sequence[Option],
        first: Plan,
        meter: EnergyMeter,
        settings: LiveSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with a plan.

        Args:
            options: Measured.
            first: In use until there is reason for another; one of the options.
            meter: Prices them.
            settings: How to choose.
            clock: Monotonic seconds.
        """
        self.predictor = Predictor(options, meter)
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._link: FogLink | None = None
        self._lane: Lane | None = None
        self._is_known = threading.Event()
        self._index = {o.plan.key: i for i, o in enumerate(options)}
        is_sent = self.predictor.is_sent > 0.0
        self._chooser = Chooser(self._index[first.key], settings.calm, is_sent)
        whole_s = max(o.head_s + o.tail_s for o in options)
        self.uplink, self.device = Uplink(), DeviceEstimate(whole_s)
        self.fog = FogEstimate({o.plan.point.index: o.tail_s for o in options})
        self._outlook = Outlook(
            self.predictor, settings.objective, settings.room, (self.uplink, self.device, self.fog)
        )
        self.probing = Probing(settings.probe_s)
        self.switches: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._reason = "link"
        self._decided_s = self._asked_s = self._explored_s = -math.inf
        self._explore_s = EXPLORE_FIRST_S
        self._has_failed = False
        self._late: tuple[float, float, int] | None = None
        """Bits of a message without an answer in time, how long it was waited for, and the probes
        that were made before."""
        self._state = self._predict()

    @property
    def objective(self) -> Objective:
        """What is made least."""
        return self._settings.objective

    @property
    def plan(self) -> Plan:
        """The plan in use."""
        return self.predictor.options[self._chooser.current].plan

    def state(self) -> State:
        """Return what would be decided from now."""
        with self._lock:
            return self._predict()

    def next_plan(self, waited_s: float) -> Plan:
        """Return the plan of the next windows; see `edge_agent.pilot`."""
        now_s = self._clock()
        self._look_at_link()
        with self._lock:
            if self._asked_s > -math.inf:
                self.device.came(max(0.0, now_s - self._asked_s - waited_s))
            self._asked_s = now_s
            if now_s - self._decided_s >= DECIDE_S or self._reason:
                explored = self._decide(now_s)
                if explored is not None:
                    return self.predictor.options[explored].plan
            return self.plan

    def sent(self, work: Underway, sent_s: float) -> Prediction:
        """Take note of a message; see `edge_agent.pilot`."""
        i, count = self._index[work.plan.key], len(work.frames)
        bits = _bits(work)
        with self._lock:
            waits_s = self.uplink.sent(bits, sent_s)
            e = self._state.estimates
            here_s = count * (self.predictor.head_s[i] + self.predictor.encode_s[i]) * e.head_ratio
            moving_s = bits * self.uplink.estimate.seconds_per_bit
            fog_s = self.fog.queue_s + self.fog.tail_s(work.plan.point.index)
            fog_s += self.predictor.options[i].inflate_s
            way_s = self.uplink.estimate.round_trip_s + moving_s
        return self._prediction(i, float(here_s + waits_s + way_s + fog_s + e.overhead_s))

    def predict_here(self, work: Underway) -> Prediction:
        """Predict windows that are finished on the edge; see `edge_agent.pilot`."""
        i = self._index[work.plan.key]
        head_s = self.predictor.head_s[i] + self.predictor.tail_s[i]
        return self._prediction(i, float(len(work.frames) * head_s * self.device.head_ratio))

    def answered(self, work: Underway, sent_s: float, received_s: float, finish: Finish) -> None:
        """Take note of the fog's answer; see `edge_agent.pilot`."""
        queue_s = finish.queue_s or 0.0
        i = self._index[work.plan.key]
        with self._lock:
            self._has_failed = False
            self._observe_head(work, received_s)
            fog_s = queue_s + self.predictor.options[i].inflate_s + finish.tail_s
            arrived_s = received_s - fog_s
            if self.uplink.answered(_bits(work), sent_s, arrived_s, received_s):
                self._jumped("link")
            point = work.plan.point.index
            if self.fog.observe(point, finish.tail_s, queue_s, received_s):
                self._jumped("fog")
            here_s = self.predictor.encode_s[i] * self.device.head_ratio
            all_s = finish.stop_s - work.arrived_s
            self.device.spent(all_s - work.head_s - here_s - (received_s - sent_s))
        self.probe(received_s)

    def finished_here(self, work: Underway, finish: Finish) -> None:
        """Take note of windows that were finished on the edge; see `edge_agent.pilot`."""
        now_s = finish.stop_s
        with self._lock:
            self._observe_head(work, now_s)
            if finish.fallback is not None:
                self.fog.failed()
            if work.tx_bytes:
                waited_s = 0.0
                if finish.fallback in LATE:
                    self._has_failed = True
                    waited_s = now_s - finish.tail_s - work.arrived_s - work.head_s
                    self._late = _bits(work), waited_s, self.probing.made
                if self.uplink.failed(_bits(work), waited_s, now_s):
                    self._jumped("link")
        self.probe(now_s)

    def probe(self, now_s: float) -> None:
        """Call the fog where it is idle and that could tell something that matters."""
        with self._lock:
            if self.uplink.messages:
                return
            padding = self.probing.wanted(
                now_s, self.uplink.estimate, self.device.interval_s, self._is_idle, self._is_open,
                self._probe_price(),
            )  # fmt: skip
            if padding is not None:
                self.uplink.probing(padding, now_s)
            elif self.probing.is_spent:
                self._is_known.set()
        if padding is not None:
            self.probing.call(padding, self._probed)

    def follow(self, link: FogLink) -> None:
        """Send over this link from now on."""
        self._link = link

    def _look_at_link(self) -> None:
        """Take note of another stream: one in use, or one that a window must prove before.

        Where all run here none would be sent that proves it, unless its link is known to be good.
        """
        lanes = None if self._link is None else self._link.lanes
        lane = None if lanes is None else lanes.active or lanes.trial
        if lane is not None and lane is not self._lane:
            self._lane = lane
            stream = lane.stream
            self.connected(
                lambda p: stream.serves(p.tail_name) and (stream.is_ours or not p.compression),
                stream.ping,
            )
            self._is_known.wait(self._settings.patience_s)

    def connected(self, serves: Callable[[Plan], bool], ping: Call) -> None:
        """Take note of another stream to a fog.

        Args:
            serves: Whether it answers what a plan sends.
            ping: Calls it.
        """
        plans = [o.plan for o in self.predictor.options]
        is_served = [p.is_local or serves(p) for p in plans]
        self.probing.connect(ping)
        with self._lock:
            self._outlook.is_served = np.array(is_served)
            self.uplink.reset()
            self.fog.forget()
            self._jumped("link")
        self.probe(self._clock())

    def _prediction(self, option: int, latency_s: float) -> Prediction:
        energy_j = float(self._state.costs.energy_j[option])
        return Prediction(latency_s, None if math.isnan(energy_j) else energy_j)

    def _probed(self, padding_bytes: int, took_s: float | None) -> None:
        if took_s is None:
            self._is_known.set()
            return
        now_s = self._clock()
        with self._lock:
            has_jumped = self.uplink.probed(padding_bytes, took_s, now_s)
            self._blame_link()
            self._state = self._predict()
            if has_jumped:
                self._jumped("link")
            elif self.uplink.estimate.is_surprised:
                self.probing.hurry()
            elif padding_bytes and not self._is_open():
                self.probing.rest()
            covariance, rate = self.uplink.estimate.covariance, self.uplink.estimate.seconds_per_bit
            if self.probing.is_spent or covariance[2] < (0.5 * rate) ** 2:
                self._is_known.set()
        self.probe(now_s)

    def _blame_link(self) -> None:
        """Pardon the fog a late answer, if a link that is known by now is slow enough for it."""
        estimate = self.uplink.estimate
        if self._late is None or estimate.covariance[2] > (0.5 * estimate.seconds_per_bit) ** 2:
            return
        bits, waited_s, before = self._late
        # What was made of the late one itself must have stood the test.
        if self.probing.made < before + BLAME_PROBES or estimate.is_surprised:
            return
        self._late = None
        if estimate.predict(bits) > 0.5 * waited_s:
            self.fog.pardon()

    def _probe_price(self) -> Price:
        """Return what probes cost, where their energy counts."""
        objective, state, device = self.objective, self._state, self.device
        if not objective.needs_energy:
            return FREE
        window_j = float(state.costs.energy_j[state.current])
        every_s = max(device.interval_s, 1e-3) if math.isfinite(device.interval_s) else 1.0
        estimate, rate = self.uplink.estimate, self.probing.least_rate
        bit_s = min(estimate.seconds_per_bit, 1.0 / rate) if rate else estimate.seconds_per_bit
        bits = self.probing.paid_bits(estimate, device.interval_s)
        return self.predictor.probe_price(bits, bit_s, window_j, every_s)

    def _is_idle(self) -> bool:
        """Whether nothing that is sent tells of the link."""
        return not self.predictor.is_sent[self._chooser.current]

    def _is_open(self) -> bool:
        """Whether to know more of the link could change the choice."""
        state = self._state
        return self._chooser.is_open(state.scores, self._outlook.link_doubts(state))

    def _observe_head(self, work: Underway, now_s: float) -> None:
        i = self._index.get(work.plan.key)
        if i is None:
            return
        per_window_s = work.head_s / len(work.frames)
        if self.device.observe(float(self.predictor.head_s[i]), per_window_s, now_s):
            self._jumped("device")

    def _jumped(self, what: str) -> None:
        self._reason = what
        self._chooser.jumped()
        if what == "link":
            self.probing.again()

    def _decide(self, now_s: float) -> int | None:
        """Choose; return an option for the next windows alone, where one is to be tried."""
        self._decided_s = now_s
        if not self.uplink.estimate.samples:
            return None
        reason, self._reason = self._reason, ""
        self.uplink.estimate.age(now_s)
        state = self._state = self._predict()
        before = self._chooser.current
        if self._chooser.choose(state.scores, lambda: self._doubts(state, now_s), now_s):
            self._note(before, reason or "drift")
            self._has_failed = False
            self._explored_s = now_s
            self._state = self._predict()
            return None
        return self._explore(state, now_s)

    def _note(self, before: int, reason: str) -> None:
        """Count and log a change of plan."""
        if not self._outlook.is_served[before]:
            reason = "unserved"
        self.switches[reason] += 1
        was, now = (self.predictor.options[i].plan for i in (before, self._chooser.current))
        log.info("plan changed: %s to %s (%s)", was.label, now.label, reason)

    def _explore(self, state: State, now_s: float) -> int | None:
        """Return an option worth a window, where all run here and the fog is long unheard of."""
        if not self._is_idle():
            if now_s - self._explored_s > EXPLORE_S:
                self._explore_s = EXPLORE_FIRST_S
            return None
        if now_s - self._explored_s < self._explore_s:
            return None
        if not self.uplink.estimate.samples or not self.predictor.is_sent.any():
            return None
        mine = state.scores[self._chooser.current]
        can_send = self._outlook.is_served & (self.predictor.is_sent > 0)
        hopes = self._predict(fog=self.fog.usual_ratio * HOPE, crowd=0.0).scores
        hopes = np.where(can_send, hopes, np.inf)
        best = int(np.argmin(hopes))
        if hopes[best] >= mine:
            return None
        crowd = self.fog.crowd(now_s)
        likely = self._predict(fog=self.fog.usual_ratio ** (1.0 - crowd), crowd=crowd).scores
        windows = (now_s - self._explored_s) / max(self.device.interval_s, 1e-6)
        if likely[best] - mine > mine * max(EXPLORE_RATIO, EXPLORE_SHARE * windows):
            return None
        self._explored_s = now_s
        self._explore_s = min(2.0 * self._explore_s, EXPLORE_S)
        self.switches["explore"] += 1
        return best

    def _predict(self, **changes: float) -> State:
        return self._outlook.predict(self._chooser.current, **changes)

    def _doubts(self, state: State, now_s: float) -> Vector:
        if self._has_failed:  # what it comes to is not known, but it is no good as it is
            return np.zeros(len(state.scores))
        return self._outlook.doubts(state, now_s)


def _bits(work: Underway) -> float:
    return 8.0 * (work.tx_bytes + FRAMING_BYTES)
