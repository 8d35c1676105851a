"""The agent's pieces together, with the fog lost and found at chosen windows."""

import random
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from edge_agent.agent import Agent, Settings
from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.lanes import Policy
from edge_agent.link import FogLink
from edge_agent.meter import NoMeter
from edge_agent.plan import choose_plan
from edge_agent.result import Result
from edge_agent.sources.frame import Frame
from edge_agent.stop import Stop
from edge_agent.writer import Writer
from headtail.tensor import Array


class HookedSource:
    """Yields windows one at a time, and does something before some of them."""

    def __init__(self, windows: Array, hooks: dict[int, Callable[[], None]]) -> None:
        self._windows = windows
        self._hooks = hooks

    def batches(self, limit: int) -> Iterator[Sequence[Frame]]:
        """Yield single frames."""
        for i, window in enumerate(self._windows):
            self._hooks.get(i, lambda: None)()
            yield [Frame(i, i, {"x": window})]

    def close(self) -> None:
        """Hold nothing."""


class Results:
    """Takes results in the order in which the writer gives them."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def take(self, results: Sequence[Result]) -> None:
        """Keep them."""
        self.results += results


@pytest.fixture
def assemble(chain, bundle, expected):
    """Return a function that runs hooked windows against a fog and returns the results."""

    def run(fog: str, hooks: Callable[[FogLink], HookedSource], room: int = 4) -> list[Result]:
        plan = choose_plan(chain.manifest, "1", "float32")
        tail = Tail(plan.tail_name, "1.0.0", plan.wire_specs, "chain", bundle.digest)
        taker, stop = Results(), Stop()
        writer = Writer([taker], room)
        settings = Settings("test", deadline_s=20.0)
        agent = Agent(chain, plan, NoMeter(), writer, stop, settings)
        client = FogClient(fog, tail, 20.0)
        policy = Policy(first_s=0.01, cap_s=0.05)
        link = FogLink([client], agent, policy, random.Random(1), time.monotonic)
        link.start()
        link.wait_first_attempt(20.0)
        try:
            agent.run(hooks(link), link)
        finally:
            link.close()
            writer.close()
            stop.close()
        assert list(range(20)) == [r.sequence for r in taker.results]
        outputs = np.array([r.output for r in taker.results])
        assert np.abs(expected - outputs).max() <= 1e-5 * np.abs(expected).max()
        return taker.results

    return run


def test_fog_lost_and_found_again(assemble, scripted_fog, start_fog, windows, wait_until, caplog):
    """Every window once: in the fog, then here, then in another fog at the same address."""
    caplog.set_level("INFO")

    def hooks(link: FogLink) -> HookedSource:
        def lose() -> None:
            scripted_fog.stop()
            wait_until(lambda: not link.is_up)

        def find() -> None:
            start_fog(listen=scripted_fog.address)
            wait_until(lambda: link.is_up)

        return HookedSource(windows, {5: lose, 12: find})

    results = assemble(scripted_fog.address, hooks)
    assert ["edge"] * 7 == [r.where for r in results[5:12]]
    assert ["fog"] * 8 == [r.where for r in results[12:]]
    assert {"unavailable"} == {r.fallback for r in results[5:12]}
    states = [r.getMessage() for r in caplog.records if r.name == "edge_agent.lanes"]
    assert ["fog connected", "fog lost", "fog back"] == [s.split(":")[0] for s in states]


def test_fog_lost_with_windows_in_flight(assemble, scripted_fog, windows, wait_until):
    """What the fog was asked and did not answer is finished here, with the bytes it cost."""

    def script(request):
        return None if len(scripted_fog.requests) > 3 else scripted_fog.answer(request)

    scripted_fog.script = script

    def hooks(link: FogLink) -> HookedSource:
        def lose() -> None:
            wait_until(lambda: len(scripted_fog.requests) == 7)
            scripted_fog.stop()
            wait_until(lambda: not link.is_up)

        return HookedSource(windows, {7: lose})

    results = assemble(scripted_fog.address, hooks, room=20)
    assert ["fog"] * 3 + ["edge"] * 17 == [r.where for r in results]
    assert all(r.tx_bytes > 0 for r in results[:7])
    assert {0} == {r.tx_bytes for r in results[7:]}


def test_answers_in_any_order_are_written_in_order(assemble, scripted_fog, windows):
    """The fog holds each first answer back until the next request came."""
    held = []

    def script(request):
        held.append(scripted_fog.answer(request))
        if len(held) % 2:
            return None
        first, second = held[-2:]
        return [second, first]

    scripted_fog.script = script
    results = assemble(scripted_fog.address, lambda link: HookedSource(windows, {}))
    assert {"fog"} == {r.where for r in results}


def test_answer_after_the_deadline_is_ignored(run_agent, scripted_fog, expected):
    """The window was finished here already; it is not written twice, and the fog stays in use."""
    late = []

    def script(request):
        answer = scripted_fog.answer(request)
        if not late:
            late.append(answer)
            return None
        return [late[0], answer] if len(scripted_fog.requests) == 10 else answer

    scripted_fog.script = script
    lines = run_agent(fog=scripted_fog.address, batch=1, in_flight=4, deadline_s=2.0)
    assert list(range(20)) == [line["sequence"] for line in lines]
    assert ["edge"] + ["fog"] * 19 == [line["where"] for line in lines]
    assert np.allclose(expected, [line["output"] for line in lines], rtol=1e-5, atol=1e-6)
