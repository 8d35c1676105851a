"""One run of an agent over one link: closed loop, one window in flight, every window recorded."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

import edge_agent.loaded
from edge_agent.agent import Agent, Settings
from edge_agent.config import Config, read_config
from edge_agent.link import FogLink
from edge_agent.loaded import Loaded, load_bundle
from edge_agent.meter import open_meter
from edge_agent.partition.offer import Option
from edge_agent.plan import AUTO, Plan
from edge_agent.result import Result
from edge_agent.running import open_link, open_partition
from edge_agent.sources.frame import Frame, Start
from edge_agent.stop import Stop
from edge_agent.writer import Writer
from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import read_trust
from headtail.segment import Chain
from proxy_link import LinkProxy, Trace
from regret_bundle import images
from regret_cost import Window
from regret_device import DEVICE, LINK, SlowChain
from regret_links import Weather

PERIOD_S = 0.1
"""Least time between the arrivals of two windows: sensors have a pace, and two cores are few."""
CONNECT_S = 20.0
DEADLINE_S = 1.0
"""The agent's default. Every link has a plan of a quarter of a second: what misses it is bad."""
INPUTS, LARGEST_ERROR = 16, 0.05
"""Of an output in any encoding, relative to the largest: another window's answer is farther off."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the agents find their bundle and their fog."""

    bundle: Path
    trust: Path
    fog: str


class Recorder:
    """Takes results, and lets the source wait for them."""

    def __init__(
        self,
        proxy: LinkProxy,
        expected: NDArray[np.float32],
        payloads: Mapping[tuple[int, str], int],
    ) -> None:
        """Prepare.

        Args:
            proxy: The link.
            expected: Outputs of the inputs, which repeat.
            payloads: Bytes by point and encoding.
        """
        self.windows: list[Window] = []
        self._proxy = proxy
        self._expected = expected
        self._payloads = payloads
        self._carried: tuple[int, float] = (0, 0.0)
        self._taken = threading.Condition()

    def begin(self) -> None:
        """Begin the link's time; what it carried before is of no window."""
        self._carried = self._proxy.taken_bytes["up"], self._proxy.busy_s["up"]
        self._proxy.restart()

    def take(self, results: Sequence[Result]) -> None:
        """Take the next results."""
        now_s = self._proxy.now_s
        with self._taken:
            self.windows.extend(self._window(result, now_s) for result in results)
            self._taken.notify_all()

    def wait(self, count: int, seconds: float) -> None:
        """Wait until so many windows are recorded."""
        with self._taken:
            self._taken.wait_for(lambda: len(self.windows) >= count, seconds)

    def _window(self, result: Result, now_s: float) -> Window:
        expected = self._expected[result.sequence % len(self._expected)]
        error = np.abs(np.array(result.output) - expected).max() / np.abs(self._expected).max()
        carried_bytes, carried_s = self._proxy.taken_bytes["up"], self._proxy.busy_s["up"]
        before, self._carried = self._carried, (carried_bytes, carried_s)
        return Window(
            began_s=now_s - result.latency_s,
            sequence=result.sequence,
            plan=(result.partition_point, result.encoding, result.compression),
            where=result.where,
            latency_s=result.latency_s,
            head_s=result.head_s,
            tail_s=result.tail_s,
            tx_bytes=result.tx_bytes,
            payload_bytes=self._payloads[result.partition_point, result.encoding],
            carried_bytes=carried_bytes - before[0],
            carried_s=carried_s - before[1],
            network_s=result.network_s,
            queue_s=result.queue_s,
            predicted_s=result.predicted_s,
            predicted_j=result.predicted_j,
            fallback=result.fallback,
            is_right=bool(error <= LARGEST_ERROR),
        )


class ClosedLoop:
    """A source whose next window comes once the last is answered, and no faster than its pace."""

    identity, is_replayed = "closed loop", False

    def __init__(
        self,
        inputs: NDArray[np.float32],
        recorder: Recorder,
        is_over: Callable[[Sequence[Window]], bool],
    ) -> None:
        """Take the windows to repeat, who records them, and what tells the end by the record."""
        self._inputs = inputs
        self._recorder = recorder
        self._is_over = is_over
        self.sent = 0

    def resume(self, start: Start) -> None:
        """Begin at the first window: nothing is continued here."""

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield one frame at a time."""
        while not self._is_over(self._recorder.windows):
            next_s = time.monotonic() + PERIOD_S
            tensors = {"x": self._inputs[self.sent % len(self._inputs)]}
            self.sent += 1
            yield [Frame(self.sent - 1, self.sent - 1, tensors)]
            self._recorder.wait(self.sent, 10 * DEADLINE_S)
            time.sleep(max(0.0, next_s - time.monotonic()))

    def close(self) -> None:
        """Free nothing."""


class Agents:
    """Runs agents of one bundle, one after the other."""

    def __init__(self, site: Site) -> None:
        """Read the bundle; from now on every chain that this process loads is a slow one."""
        edge_agent.loaded.Chain = SlowChain  # type: ignore[misc]
        self._site = site
        self._bundle: Bundle = read_bundle(site.bundle, read_trust(site.trust))
        self._inputs = images(INPUTS, np.random.default_rng(3))
        quick = Chain(self._bundle)
        self._expected = quick.tail({"x": self._inputs}, 0)["y"]
        self._loaded = load_bundle(self._bundle, (AUTO, AUTO), 1, is_live=True)
        self._payloads = {
            (p.index, e.encoding.value): e.bytes
            for p in self._bundle.manifest.points
            for e in p.encodings
        }

    def plans(self, weather: Weather) -> tuple[Plan, ...]:
        """Return every plan that an agent may choose, those first that promise least latency.

        Compressed ones are among them where the agent itself would offer them.
        """

        def promised_s(option: Option) -> float:
            sent = option.message_bytes
            way_s = weather.round_trip_s + 8 * sent / weather.rate if sent else 0.0
            return option.head_s + way_s

        return tuple(option.plan for option in sorted(self._loaded.options, key=promised_s))

    def run_fixed(
        self, trace: Trace, plan: Plan, is_over: Callable[[Sequence[Window]], bool]
    ) -> list[Window]:
        """Return what was observed with one plan until `is_over`."""
        loaded = self._loaded._replace(plan=plan, options=())
        return self._run(trace, loaded, Config(deadline_s=DEADLINE_S), is_over)[0]

    def run_live(
        self, trace: Trace, objective: str, is_over: Callable[[Sequence[Window]], bool]
    ) -> tuple[list[Window], int]:
        """Return what was observed of the live choice until `is_over`, and the windows sent."""
        flags = {
            "partition": "live",
            "partition_objective": objective,
            "deadline_s": DEADLINE_S,
        }
        return self._run(trace, self._loaded, read_config(None, flags), is_over)

    def _run(
        self,
        trace: Trace,
        loaded: Loaded,
        patience: Config,
        is_over: Callable[[Sequence[Window]], bool],
    ) -> tuple[list[Window], int]:
        with ExitStack() as stack:
            proxy = stack.enter_context(LinkProxy(self._site.fog, trace))
            recorder = Recorder(proxy, self._expected, self._payloads)
            writer = Writer([recorder], 1)
            stack.callback(writer.close)
            more = {"fog": proxy.address, "connect_s": CONNECT_S, "batch": 1, "in_flight": 1}
            config = msgspec.structs.replace(patience, **more)
            meter = open_meter(loaded.plan.manifest, DEVICE, LINK)
            settings = Settings("regret", 1, config.deadline_s)
            stop = stack.enter_context(closing(Stop()))
            agent = Agent(loaded.chain, loaded.plan, meter, writer, stop, settings)
            agent.pilot = open_partition(config, loaded, meter)
            link = open_link(config, loaded, agent) if loaded.needs_fog else None
            if link is not None:
                stack.callback(link.close)
                _wait_up(link)
            recorder.begin()
            source = ClosedLoop(self._inputs, recorder, is_over)
            agent.run(source, link)
        return recorder.windows, source.sent


def _wait_up(link: FogLink) -> None:
    """Wait until the fog is connected: on the slowest links the first attempt may not do."""
    stop_s = time.monotonic() + 3 * CONNECT_S
    while not link.is_up and time.monotonic() < stop_s:
        link.wait_first_attempt(CONNECT_S)
        time.sleep(0.01)
    assert link.is_up, "the fog is there"
