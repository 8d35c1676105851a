"""Real agents under a real rollout: a good bundle reaches all of them, a bad one none for long."""

import json
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from operating import TIMEOUT_S, Operator, wait_for
from remaking import slow_down

from fog_server.rollout.rules import Rules
from headtail.tensor import Array
from programs import BIN

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
AGENTS = ("agent-a", "agent-b", "agent-c")
# Three processes on a busy machine: latency is noise, unless it is many times what it was.
RULES = Rules(share_ratio=0.3, bake_s=1.0, min_windows=50, max_latency_increase_ratio=5.0)


class Agent:
    """A running agent that is given a window now and then."""

    def __init__(self, name: str, fog: str, trust: Path, home: Path) -> None:
        """Start it."""
        home.mkdir()
        self.sink = home / "out"
        self.sent = 0
        command = [
            BIN / "edge-agent", "run", "--model", "chain", "--agent", name, "--updates", "on",
            "--fog", fog, "--trust", trust, "--state", home / "state", "--source", "stdin",
            "--sink", f"jsonl:{self.sink}", "--batch", "1", "--view", "off",
        ]  # fmt: skip
        with (home / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log)

    def send(self, window: Array) -> None:
        """Give it a window."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(window.tolist()).encode() + b"\n")
        self._process.stdin.flush()
        self.sent += 1

    def results(self) -> list[dict]:
        """Return the results in its sink."""
        if not self.sink.exists():
            return []
        return [json.loads(line) for line in self.sink.read_text().splitlines()]

    def end(self) -> int:
        """Let it finish what it was given; return its exit code."""
        self._process.communicate(timeout=TIMEOUT_S)
        return self._process.returncode

    def kill(self) -> None:
        """End it whatever it does."""
        with self._process:
            self._process.kill()


class Fleet:
    """Three agents of a fog, each given some twenty windows a second."""

    def __init__(self, operator: Operator, agents: list[Agent]) -> None:
        """Begin to send."""
        self.operator = operator
        self.agents = agents
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def running(self) -> dict[str, int]:
        """Return how many agents run each version."""
        return {b.bundle.version: b.agents for b in self.operator.model().bundles if b.agents}

    def wait_for_more(self, count: int = 20) -> None:
        """Wait until every agent has answered more windows."""
        before = [len(agent.results()) for agent in self.agents]
        wait_for(
            lambda: all(
                len(agent.results()) >= had + count
                for agent, had in zip(self.agents, before, strict=True)
            )
        )

    def stop_sending(self) -> None:
        """Send no more."""
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        rng = np.random.default_rng(1)
        while not self._ended.wait(0.05):
            for agent in self.agents:
                agent.send(rng.standard_normal((16, 2)).astype(np.float32))


@pytest.fixture
def fleet(template, folder, start_managed, operate, key_folder, tmp_path):
    """Return three agents under a fog where version 1.0 is active."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    fog = start_managed(rules=RULES, report_s=1.0)
    trust = key_folder / "trust"
    agents = [Agent(name, fog.address, trust, tmp_path / name) for name in AGENTS]
    fleet = Fleet(operate(fog.address), agents)
    try:
        wait_for(lambda: fleet.running() == {"1.0": 3})
        fleet.wait_for_more()
        yield fleet
    finally:
        fleet.stop_sending()
        for agent in agents:
            agent.kill()


def test_good_bundle_reaches_every_agent_and_no_window_is_lost(fleet, versions):
    operator = fleet.operator
    operator.canary("2.0")
    wait_for(lambda: operator.states() == {"1.0": "retired", "2.0": "active"}, operator.model)
    assert "rule" == operator.model().events[0].by
    wait_for(lambda: fleet.running() == {"2.0": 3}, operator.model)
    fleet.wait_for_more()
    fleet.stop_sending()
    for agent in fleet.agents:
        assert 0 == agent.end()
        found = agent.results()
        assert list(range(agent.sent)) == [result["sequence"] for result in found]
        bundles = list(dict.fromkeys(result["bundle"] for result in found))
        assert [versions["1.0"][1], versions["2.0"][1]] == bundles


def test_bad_bundles_are_rolled_back_and_the_active_one_serves_on(fleet, opposite_bundle, remade,
                                                                  versions):  # fmt: skip
    """Wrong answers, then a tail that is far too slow."""
    operator = fleet.operator
    for version, path in (("4.0", opposite_bundle), ("8.0", remade("8.0", {2: slow_down}))):
        operator.publish(path)
        operator.canary(version)
        wait_for(lambda v=version: operator.states()[v] == "retired", operator.model)
        event = operator.model().events[0]
        assert ("roll_back", "rule", version) == (event.action, event.by, event.version)
    wait_for(lambda: fleet.running() == {"1.0": 3}, operator.model)
    fleet.wait_for_more()
    fleet.stop_sending()
    for agent in fleet.agents:
        assert 0 == agent.end()
        found = agent.results()
        assert list(range(agent.sent)) == [result["sequence"] for result in found]
        assert versions["1.0"][1] == found[-1]["bundle"]
