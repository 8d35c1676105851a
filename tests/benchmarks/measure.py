"""Blocks in turn over all lanes and loads, so that whatever drifts hits every server alike."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort

from closed_loop import run_loop
from connections import Client, connect
from crowd import Crowd
from lanes import BATCHING, Lane
from paired import least_share, percentile
from processes import tree_cpu_s, tree_peak_bytes
from tasks import Task

BLOCK_S, WARM_UP_S = 0.4, 0.5
STUCK_S = 20.0  # after the end of a block, when its client is hung up on
MAX_FAILURES = 3  # of a lane's blocks, after which it is left out
LEAST_MEAN = 10  # requests of an agent in a block, below which shares say nothing
LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """How much is under way."""

    name: str
    in_flight: int = 1
    """On one connection."""
    agents: int = 0
    """Connections with one request each; 0 is the one connection above."""
    windows: int = 1
    """In a message."""
    seconds: float = BLOCK_S

    @property
    def under_way(self) -> int:
        """Requests, all in all."""
        return self.agents or self.in_flight


ONE = Load("1 in flight", seconds=0.5)
EIGHT = Load("8 in flight", in_flight=8)
MANY = Load("64 agents", agents=64, seconds=1.5)
LOADS = (ONE, EIGHT, Load("32 in flight", in_flight=32), Load("8 agents", agents=8), MANY)
BATCHED = Load("8 windows a message, 4 in flight", in_flight=4, windows=8)
BATCHED_TASK = "16 KB"


@dataclass(slots=True)
class Series:
    """What one lane gave under one load, a value for each block."""

    rate: list[float | None] = field(default_factory=list)
    """Windows per second; None for a block that was lost, here and below."""
    server_us: list[float | None] = field(default_factory=list)
    """Processor time of the server, microseconds a window."""
    client_us: list[float | None] = field(default_factory=list)
    p50_us: list[float | None] = field(default_factory=list)
    least_share: list[float] = field(default_factory=list)
    latencies_us: list[float] = field(default_factory=list)
    """Of every request, with one in flight."""


Results = dict[tuple[str, str], Series]
"""By load and lane."""
Tick = Callable[[float], None]
"""Told which share of the task's time is over."""


class Blocks:
    """The clients of one task's lanes, and blocks with them."""

    def __init__(self, task: Task, lanes: Sequence[Lane], crowd: Crowd) -> None:
        """Connect nobody yet."""
        self.lanes = list(lanes)
        self.failed: dict[str, str] = {}
        """Why lanes were left out."""
        self.failures: list[str] = []
        """Blocks that were lost, each with its lane, load and reason."""
        self.has_died = False
        """Whether a server ended by itself, but for the one that is known to."""
        self.results: Results = {}
        self._task, self._crowd = task, crowd
        self._request_s: dict[str, float] = {}

    def prove(self) -> None:
        """Prove that every lane answers rightly, and warm up."""
        for lane in self.lanes:
            try:
                self._check(lane)
                client = connect(lane.target(1), 1)
                with _unstuck(client, WARM_UP_S + STUCK_S):
                    warm = run_loop(client, 1, WARM_UP_S)
                client.close()
                self._request_s[lane.name] = percentile(warm.latencies_s, 50)
            except Exception as error:  # noqa: BLE001 - a peer may fail in any way; it is reported
                self.failed[lane.name] = _one_line(error)
        self.lanes = [lane for lane in self.lanes if lane.name not in self.failed]

    def run(self, loads: Sequence[Load], seconds: float, tick: Tick) -> int:
        """Measure for about so long and return how many rounds.

        There are three at least, unless they take twice the time.
        """
        start_s = time.monotonic()
        for rounds in itertools.count(1):
            for load in loads:
                for i in range(len(self.lanes)):
                    lane = self.lanes[(i + rounds) % len(self.lanes)]
                    if _fits(load, lane) and lane.name not in self.failed:
                        self._try_block(load, lane)
            self.lanes = [lane for lane in self.lanes if lane.name not in self.failed]
            spent_s = time.monotonic() - start_s
            least_s = LEAST_ROUNDS * spent_s / rounds
            tick(min(1.0, spent_s / max(seconds, least_s)))
            next_s = spent_s * (1 + 1 / rounds)
            if next_s > (seconds if rounds >= LEAST_ROUNDS else 2 * seconds):
                return rounds
        raise AssertionError("count() has no end")

    def peaks(self) -> dict[str, int]:
        """Return the peak memory of each lane's server in bytes; lanes of one server share it."""
        return {lane.name: tree_peak_bytes(lane.program.process.pid) for lane in self.lanes}

    def _try_block(self, load: Load, lane: Lane) -> None:
        """Measure a block; one that fails is lost, and its client connected anew."""
        try:
            self._block(load, lane)
        except Exception as error:  # noqa: BLE001 - a server may fail in any way; it is reported
            self.failures.append(f"{lane.name}, {load.name}: {_one_line(error)}")
            series = self.results.setdefault((load.name, lane.name), Series())
            for blocks in (series.rate, series.server_us, series.client_us):
                blocks.append(None)
            if load is ONE:
                series.p50_us.append(None)
            lost = [text for text in self.failures if text.startswith(f"{lane.name},")]
            if len(lost) >= MAX_FAILURES:
                self.failed[lane.name] = f"{len(lost)} blocks failed, the last: {lost[-1]}"
                code = lane.program.process.poll()
                if code is not None:
                    self.has_died |= lane.name != BATCHING
                    self.failed[lane.name] = f"its server ended by itself with status {code}"

    def _block(self, load: Load, lane: Lane) -> None:
        pid = lane.program.process.pid
        # Slow tails: more than half again of what is under way is answered beside it.
        seconds = max(load.seconds, 0.6 * load.under_way * self._request_s[lane.name])
        series = self.results.setdefault((load.name, lane.name), Series())
        if load.agents:
            # Connected anew for each block: a connection that nobody reads answers no pings.
            self._crowd.open(lane.name, lane.target(1), load.agents)
            server_s = tree_cpu_s(pid)
            try:
                crowded = self._crowd.run(lane.name, load.agents, seconds)
                server_s = tree_cpu_s(pid) - server_s
            finally:
                self._crowd.close()
            requests, wall_s, client_s = crowded.requests, crowded.wall_s, crowded.cpu_s
            if sum(crowded.counts) >= LEAST_MEAN * load.agents:
                series.least_share.append(least_share(crowded.counts))
        else:
            client = connect(lane.target(load.windows), load.in_flight)
            try:
                with _unstuck(client, seconds + STUCK_S):
                    run_loop(client, load.in_flight, min(0.05, seconds))
                    before_s, server_s = time.process_time(), tree_cpu_s(pid)
                    loop = run_loop(client, load.in_flight, seconds)
                client_s, server_s = time.process_time() - before_s, tree_cpu_s(pid) - server_s
            finally:
                client.close()
            requests, wall_s = loop.requests, loop.wall_s
            if load is ONE:
                series.latencies_us += [1e6 * s for s in loop.latencies_s]
                series.p50_us.append(1e6 * percentile(loop.latencies_s, 50))
        windows = requests * load.windows
        series.rate.append(windows / wall_s)
        series.server_us.append(1e6 * server_s / windows)
        series.client_us.append(1e6 * client_s / windows)

    def _check(self, lane: Lane) -> None:
        """Compare one answer with what onnxruntime says here.

        Raises:
            RuntimeError: If it is another.
        """
        target = lane.target(1)
        session = ort.InferenceSession(
            self._task.bundle.segments[1], providers=["CPUExecutionProvider"]
        )
        inputs = dict(zip((s.name for s in target.inputs), target.arrays, strict=True))
        expected = session.run(None, inputs)[0]
        client = connect(target, 1)
        with _unstuck(client, STUCK_S):
            client.send()
            answer = np.frombuffer(client.receive(), np.float32).reshape(expected.shape)
        client.close()
        if not np.allclose(answer, expected, rtol=1e-3, atol=1e-4):
            raise RuntimeError("its answer is not the tail's")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _fits(load: Load, lane: Lane) -> bool:
    """Say whether a lane is measured under a load: batches only where both sides have streams."""
    return load.windows == 1 or lane.is_stream


@contextmanager
def _unstuck(client: Client, seconds: float) -> Iterator[None]:
    """Hang up on a server that does not answer any more."""
    timer = threading.Timer(seconds, client.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
