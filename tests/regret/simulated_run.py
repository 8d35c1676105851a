"""Runs of an agent's live choice, or of a fixed plan, over a simulated link: no thread, no waiting.

The choice and the options among which it is made are the agent's own, and so are the messages'
sizes. Times of heads and tails are those that the slow device's profile predicts.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from edge_agent.config import Config
from edge_agent.loaded import Loaded
from edge_agent.meter import open_meter
from edge_agent.partition.choose import Calm, Objective
from edge_agent.partition.live import LivePartition, LiveSettings
from edge_agent.partition.offer import Option, measure_options, offered_plans
from edge_agent.plan import AUTO, Plan, PlanKey, choose_plan
from edge_agent.sources.frame import Frame
from edge_agent.underway import Finish, Underway
from headtail.bundle import Bundle
from headtail.cut_cost import Halves
from proxy_link import Trace
from regret_cost import FRAMING_BYTES, Window
from regret_device import DEVICE, LINK, SlowChain
from regret_run import PERIOD_S, Agents
from simulated_link import Lag, SimulatedLink, SimulatedTime

ENCODE_S, HAND_OVER_S, DELIVER_S = 1e-4, 1e-4, 1e-4
"""To make any message, or to inflate one; from there to its sending; from an answer to the
window's result."""
HEAD_LAG_S, SERVE_LAG_S, WAKE_LAG_S = 5e-5, 2e-4, 1e-4
"""Means of what a head, the fog's server and a sleep until the next window take more."""
SERVE_S, QUEUE_S, REPLY_BYTES = 3e-4, 2e-5, 150
"""Of the fog's server, beside the tail; of what is before the tail; of an answer."""
FOG_TAIL_S, FOG_LAG_S = 1.1e-3, 1e-4
"""Of any tail in the fog, and mean of what it takes more."""
STALL_RATIO = 0.005
"""Of a live run's times; what a fixed plan costs is known without such chance."""


class ProfiledChain(SlowChain):
    """Takes no longer than it must, and says what the slow device would."""

    def measure(
        self,
        bundle: Bundle,
        points: Sequence[int],
        rounds: int = 5,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> dict[int, Halves]:
        """Return what head and tail take on the device at each point, in seconds."""
        last = len(self.manifest.segments)
        return {p: Halves(self.predict_s(0, p), self.predict_s(p, last)) for p in points}

    def _sleep_until(self, due_s: float) -> None:
        """Go on."""


class SimulatedAgents(Agents):
    """Runs what the grid's agents run, in simulated time; every run has the same lags."""

    def __init__(self, bundle: Bundle, seed: int) -> None:
        """Make the options.

        Args:
            bundle: Of the grid.
            seed: Of every run's lags.
        """
        # Not that of the grid's agents: it slows every chain of the process, and times options.
        chain, manifest = ProfiledChain(bundle), bundle.manifest
        clock = itertools.count(0.0, ENCODE_S).__next__
        options = measure_options(chain, bundle, offered_plans(manifest, AUTO, AUTO), clock=clock)
        self._loaded = Loaded(choose_plan(manifest, AUTO, AUTO), chain, bundle.digest, options)
        self.options = {o.plan.key: o for o in options}
        self._seed = seed

    def _run(
        self,
        trace: Trace,
        loaded: Loaded,
        patience: Config,
        is_over: Callable[[Sequence[Window]], bool],
    ) -> tuple[list[Window], int]:
        lag = Lag(np.random.default_rng(self._seed), STALL_RATIO if loaded.options else 0.0)
        run = SimulatedRun(trace, self.options, patience.deadline_s, lag)
        if loaded.options:
            run.connect(_live(loaded, patience, run.time.clock))
        windows: list[Window] = []
        while not is_over(windows):
            windows.append(run.window(loaded.plan, len(windows)))
        return windows, len(windows)


def _live(loaded: Loaded, config: Config, clock: Callable[[], float]) -> LivePartition:
    """Return the choice as the agent opens it."""
    meter = open_meter(loaded.plan.manifest, DEVICE, LINK)
    objective = Objective(config.partition_objective, deadline_s=config.deadline_s)
    calm = Calm(config.partition_margin, config.partition_dwell_s)
    settings = LiveSettings(objective=objective, calm=calm, probe_s=config.partition_probe_s)
    return LivePartition(loaded.options, loaded.plan, meter, settings, clock)


@dataclass(frozen=True, slots=True)
class Answered:
    """A window that has its result."""

    work: Underway
    finish: Finish


class SimulatedRun:
    """One run: windows one at a time, no faster than the grid's pace."""

    def __init__(
        self, trace: Trace, options: Mapping[PlanKey, Option], deadline_s: float, lag: Lag
    ) -> None:
        """Begin the link's time.

        Args:
            trace: The link.
            options: By plan.
            deadline_s: Of a window.
            lag: On top of all times.
        """
        self.time = SimulatedTime()
        self._lag = lag
        self._link = SimulatedLink(trace, self.time, lag)
        self._options = options
        self._deadline_s = deadline_s
        self._live: LivePartition | None = None
        self._carried: tuple[int, float] = (0, 0.0)

    def connect(self, live: LivePartition) -> None:
        """Let the choice probe the link, as long as it waits for that; the link's time begins."""
        self._live = live
        live.connected(lambda plan: True, self._link.call)
        patience_s = LiveSettings().patience_s
        self.time.advance(self.time.now_s + patience_s, live._is_known.is_set)
        self._carried = self._link.taken_bytes["up"], self._link.busy_s["up"]
        self._link.restart()

    def window(self, fixed: Plan, sequence: int) -> Window:
        """Return the next window, with a fixed plan unless there is a choice."""
        next_s = self.time.now_s + PERIOD_S
        began_s = self._link.now_s
        plan = fixed if self._live is None else self._live.next_plan(0.0)
        frames = [Frame(sequence, sequence, {})]
        answered = self._answer(Underway(plan, frames, {}, self.time.now_s, 0.0))
        window = self._record(answered, began_s)
        self.time.advance(max(self.time.now_s, next_s) + self._lag.draw(WAKE_LAG_S))
        return window

    def _answer(self, work: Underway) -> Answered:
        """Run the head, and the tail in the fog or here."""
        head_s = self._options[work.plan.key].head_s + self._lag.draw(HEAD_LAG_S)
        self.time.advance(work.arrived_s + head_s)
        work = replace(work, head_s=head_s)
        if not work.plan.is_local:
            return self._send(work)
        if self._live is not None:
            work = replace(work, predicted=self._live.predict_here(work))
        return self._finish_here(work, None)

    def _send(self, work: Underway) -> Answered:
        """Send the activation, and wait for its answer until the deadline."""
        option = self._options[work.plan.key]
        self.time.advance(self.time.now_s + option.encode_s + HAND_OVER_S)
        sent_s = self.time.now_s
        work = replace(work, tx_bytes=option.message_bytes)
        if self._live is not None:
            work = replace(work, predicted=self._live.sent(work, sent_s))
        tail_s = FOG_TAIL_S + self._lag.draw(FOG_LAG_S)
        fog_s = SERVE_S + QUEUE_S + option.inflate_s + tail_s + self._lag.draw(SERVE_LAG_S)
        received_s: list[float] = []
        self._link.exchange(
            work.tx_bytes + FRAMING_BYTES,
            REPLY_BYTES,
            fog_s,
            lambda: received_s.append(self.time.now_s),
        )
        self.time.advance(work.arrived_s + self._deadline_s, lambda: bool(received_s))
        if not received_s:
            return self._finish_here(work, "deadline")
        network_s = received_s[0] - sent_s - tail_s - QUEUE_S
        self.time.advance(received_s[0] + DELIVER_S)
        finish = Finish("fog", self.time.now_s, tail_s, network_s, QUEUE_S)
        if self._live is not None:
            self._live.answered(work, sent_s, received_s[0], finish)
        return Answered(work, finish)

    def _finish_here(self, work: Underway, fallback: str | None) -> Answered:
        """Run the tail here."""
        tail_s = self._options[work.plan.key].tail_s
        self.time.advance(self.time.now_s + tail_s)
        finish = Finish("edge", self.time.now_s, tail_s, fallback=fallback)
        if self._live is not None:
            self._live.finished_here(work, finish)
        return Answered(work, finish)

    def _record(self, answered: Answered, began_s: float) -> Window:
        work, finish = answered.work, answered.finish
        now = self._link.taken_bytes["up"], self._link.busy_s["up"]
        before, self._carried = self._carried, now
        return Window(
            began_s=began_s,
            sequence=work.frames[0].sequence,
            plan=work.plan.key,
            where=finish.where,
            latency_s=finish.stop_s - work.arrived_s,
            head_s=work.head_s,
            tail_s=finish.tail_s,
            tx_bytes=work.tx_bytes,
            payload_bytes=work.plan.payload_bytes,
            carried_bytes=now[0] - before[0],
            carried_s=now[1] - before[1],
            network_s=finish.network_s,
            queue_s=finish.queue_s,
            predicted_s=work.predicted.latency_s if work.predicted else None,
            predicted_j=work.predicted.energy_j if work.predicted else None,
            fallback=finish.fallback,
        )
