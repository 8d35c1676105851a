"""A request for a better model while its programs are killed at every step: the same end."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from loop_case import NAME, OPS, RECIPE, Site, site_with
from loop_programs import wait_until

from fog_server.rollout.client import Client
from headtail.errors import HeadtailError
from headtail.v1 import control_pb2 as pb
from optimizer.serve.client import JobsClient

pytestmark = [pytest.mark.e2e, pytest.mark.data, pytest.mark.slow]
LEAST_KILLS = 4
"""Steps at which a program was killed, at least; some are too short to be seen every time."""


@pytest.fixture
def site(tmp_path: Path, real_data: Callable[[str], Path]) -> Iterator[Site]:
    """Return a site without Prometheus, whose agents run the first bundle."""
    with site_with(tmp_path, real_data("mitdb").parent, is_watched=False) as site:
        yield site


class Request:
    """The script; who kills it starts it again."""

    def __init__(self, site: Site, recipe: Path) -> None:
        """Begin."""
        to = ("--fog", site.fog, "--optimizer", site.optimizer, "--timeout", "10m")
        trial = ("--canary", "34%", "--bake", "8s", "--min-windows", "20", "--min-agreement", "0.5")
        loose = ("--max-latency", "100")  # programs that start share two cores with the windows
        self._command = [OPS / "reoptimize", "--recipe", recipe, *to, *trial, *loose]
        self._log = site.folder / "reoptimize.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Run it (again)."""
        with self._log.open("ab") as file:
            self._process = subprocess.Popen(self._command, stdout=file, stderr=file)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def code(self) -> int | None:
        """How it ended; None where it has not."""
        return None if self._process is None else self._process.poll()

    @property
    def text(self) -> str:
        """What it said."""
        return self._log.read_text()


class Eyes:
    """Sees which steps a request has reached."""

    def __init__(self, site: Site) -> None:
        """Connect."""
        self._jobs = JobsClient(site.optimizer)
        self._fog = Client(site.fog, None, 5.0)
        self._first = site.active()["digest"]

    def steps(self) -> set[str]:
        """Return the steps that things stand at now: of the job, the bundle and the agents."""
        found = set()
        try:
            newest = self._jobs.jobs(limit=1)
            found |= {f"job {job.state.value}" for job in newest if job.result is None}
            (rollout,) = self._fog.rollouts(NAME, with_agents=True)
        except (HeadtailError, grpc.RpcError):
            return found
        for record in rollout.bundles:
            if record.bundle.digest != self._first:
                found.add(pb.BundleState.Name(record.bundle.state))
        for agent in rollout.agents:
            if agent.status.target_digest not in ("", self._first):
                found.add(pb.UpdateState.Name(agent.status.state))
        return found

    def close(self) -> None:
        """Hang up."""
        self._jobs.close()
        self._fog.close()


@pytest.mark.parametrize("victim", ["optimizer", "fog", "agents", "reoptimize"])
def test_killed_at_every_step_it_ends_the_same(site, victim):
    """One victim, killed and started again at each step that is seen."""
    recipe = site.folder / "better.toml"
    recipe.write_text(RECIPE.replace('link_profile = "ethernet"', 'link_profile = "ble-1m"'))
    request, eyes = Request(site, recipe), Eyes(site)
    victims: dict[str, list[tuple[Callable[[], None], Callable[[], None]]]] = {
        "optimizer": [(site.programs["optimizer"].kill, site.programs["optimizer"].start)],
        "fog": [(site.programs["fog"].kill, site.programs["fog"].start)],
        "agents": [(agent.program.kill, agent.program.start) for agent in site.agents],
        "reoptimize": [(request.kill, request.start)],
    }
    killed: set[str] = set()

    def is_over() -> bool:
        fresh = eyes.steps() - killed
        if fresh:
            killed.update(fresh)
            for kill, _ in victims[victim]:
                kill()
            time.sleep(0.3)  # long enough for the others to notice
            for _, start in victims[victim]:
                start()
            return False
        return request.code is not None

    try:
        wait_until(is_over, lambda: request.text + site.tell())
        assert 0 == request.code, request.text
        assert len(killed) >= LEAST_KILLS, killed
        active = site.active()
        assert "2" == active["version"]
        wait_until(lambda: site.all_run(active["digest"]), site.tell)
        assert {0} != {agent.point() for agent in site.agents}
    finally:
        request.kill()
        eyes.close()
    for agent in site.agents:
        agent.program.stop()
        assert 0 < agent.check_exactly_once()
