"""One window over the stream against its floor: the same graphs, the same bytes, bare gRPC."""

import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from edge_agent.agent import Agent, Settings
from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.lanes import Policy
from edge_agent.link import FogLink
from edge_agent.meter import open_meter
from edge_agent.plan import Plan, choose_plan
from edge_agent.result import Result
from edge_agent.run import SWITCH_INTERVAL_S
from edge_agent.sources.frame import Frame
from edge_agent.sources.intake import Intake
from edge_agent.stop import Stop
from edge_agent.tail_codec import TailCodec
from edge_agent.writer import Writer
from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import read_trust
from headtail.segment import Chain
from programs import running

pytestmark = [pytest.mark.bench, pytest.mark.tf]
BLOCKS, BLOCK, WARM_UP = 20, 100, 200
ECHO = Path(__file__).with_name("echo_server.py")


class ClosedLoop:
    """A source that hands out a window and waits for its result: one in flight."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        """Remember the windows and how long each takes."""
        self._frames = frames
        self._taken = threading.Event()
        self.seconds: list[float] = []
        self.latencies: list[float] = []

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield one window at a time."""
        for frame in self._frames:
            self._taken.clear()
            start = time.perf_counter()
            yield [frame]
            self._taken.wait()
            self.seconds.append(time.perf_counter() - start)

    def take(self, results: Sequence[Result]) -> None:
        """Take a result, as a sink would."""
        assert results[0].where == "fog"
        self.latencies.append(results[0].latency_s)
        self._taken.set()

    def close(self) -> None:
        """Hold nothing."""


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> Bundle:
    """Return the trained bundle."""
    return read_bundle(bundle_path, read_trust())


@pytest.fixture(scope="module")
def frames(windows_path: Path, bundle: Bundle) -> list[Frame]:
    """Return real windows, preprocessed."""
    intake, name = Intake(bundle.manifest), bundle.manifest.inputs[0].name
    with np.load(windows_path) as file:
        arrays = [intake.prepare({name: x}, "window") for x in file["x"][: max(BLOCK, WARM_UP)]]
    return [Frame(i, i, arrays[i % len(arrays)]) for i in range(max(BLOCK, WARM_UP))]


def merged(bundle: Bundle) -> tuple[Plan, Chain]:
    """Return the default plan and the chain as the programs load it."""
    plan, chain = choose_plan(bundle.manifest, "auto", "auto"), Chain(bundle)
    chain.merge(bundle, [(0, plan.point.index), (plan.point.index, len(bundle.segments))])
    return plan, chain


@contextmanager
def agent_loop(bundle: Bundle, fog: str) -> Iterator[Callable[[Sequence[Frame]], ClosedLoop]]:
    """Yield a function that runs windows through the real agent, one in flight."""
    (plan, chain), stop = merged(bundle), Stop()
    manifest = plan.manifest
    tail = Tail(plan.tail_name, manifest.version, plan.wire_specs, manifest.name, bundle.digest)
    client = FogClient(fog, tail, 5.0)
    meter = open_meter(plan.manifest, "", "")

    def run(frames: Sequence[Frame]) -> ClosedLoop:
        source = ClosedLoop(frames)
        writer = Writer([source], 8)
        agent = Agent(chain, plan, meter, writer, stop, Settings("bench", 8, 5.0))
        link = FogLink([client], agent, Policy(), random.Random(0), time.monotonic)
        link.start()
        link.wait_first_attempt(5.0)
        agent.run(source, link)
        link.close()
        writer.close()
        return source

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    yield run
    sys.setswitchinterval(interval_s)
    stop.close()


@contextmanager
def floor_loop(
    bundle: Bundle, core: int, log: Path
) -> Iterator[Callable[[Sequence[Frame]], list[float]]]:
    """Yield a function that runs head, bare ping-pong and tail on the same windows and bytes."""
    plan, chain = merged(bundle)
    with running([sys.executable, ECHO], log, core) as echo:
        address = f"127.0.0.1:{echo.wait_for(r'^([0-9]+)$')}"

        def run(frames: Sequence[Frame]) -> list[float]:
            outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
            seconds = []
            with grpc.insecure_channel(address) as channel:
                call = channel.stream_stream("/bench.Echo/Stream")(iter(outgoing.get, None))
                outgoing.put(str(response_bytes(bundle)).encode())
                content = request(plan, chain, frames[0])
                for frame in frames:
                    x = {n: a[None] for n, a in frame.tensors.items()}
                    start = time.perf_counter()
                    activation = chain.head(x, plan.point.index)
                    outgoing.put(content)
                    next(call)
                    chain.tail(activation, plan.point.index)
                    seconds.append(time.perf_counter() - start)
                outgoing.put(None)
            return seconds

        yield run


def request(plan: Plan, chain: Chain, frame: Frame) -> bytes:
    """Return the message the agent sends for one window."""
    x = {n: a[None] for n, a in frame.tensors.items()}
    activation = chain.head(x, plan.point.index)
    return TailCodec(plan, "bench").request([frame], activation, 0.0, 5.0).content


def response_bytes(bundle: Bundle) -> int:
    """Return the size of the fog's answer: outputs, their header, the timings."""
    return sum(s.window_bytes for s in bundle.manifest.outputs) + 110


def test_one_window_against_the_floor(
    bundle: Bundle,
    frames: list[Frame],
    fog_address: str,
    cores: tuple[int, int],
    tmp_path: Path,
) -> None:
    """Print p50 and p99 of both, taken in turn, and their ratio."""
    ours: list[float] = []
    written: list[float] = []
    floor: list[float] = []
    with (
        agent_loop(bundle, fog_address) as agent,
        floor_loop(bundle, cores[1], tmp_path / "echo.log") as bare,
    ):
        agent(frames[:WARM_UP])
        bare(frames[:WARM_UP])
        for _ in range(BLOCKS):
            # The first of a block opens the stream.
            loop = agent(frames[:BLOCK])
            ours += loop.latencies[5:]
            written += loop.seconds[5:]
            floor += bare(frames[:BLOCK])[5:]
    plan, chain = merged(bundle)
    payload = plan.point.wire(plan.encoding)
    assert payload is not None
    rows = {"window to outputs": ours, "window to sink": written, "floor": floor}
    shown = {
        name: (np.percentile(s, 50) * 1e6, np.percentile(s, 99) * 1e6) for name, s in rows.items()
    }
    print(f"\none window over the stream, one in flight, {len(ours)} each, a core each side")
    print(f"{'':24}{'p50, us':>10}{'p99, us':>10}")
    for name, (p50, p99) in shown.items():
        print(f"{name:24}{p50:10.0f}{p99:10.0f}")
    outputs, floors = shown["window to outputs"], shown["floor"]
    ratios = [a / b for a, b in zip(outputs, floors, strict=True)]
    print(f"{'ratio (aim 1.3 at p50)':24}{ratios[0]:10.2f}{ratios[1]:10.2f}")
    sent = len(request(plan, chain, frames[0]))
    print(f"bytes of a window: {payload.bytes} payload, {sent} message, as {plan.encoding.value}")
