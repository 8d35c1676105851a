"""Agents on emulated links: what is recorded of them, whatever it took."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from programs import running
from regret_analysis import lost_and_repeated
from regret_bundle import write_regret_bundle
from regret_links import MBIT, Weather
from regret_run import Agents, Site

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    """Return agents with a fog server."""
    folder: Path = tmp_path_factory.mktemp("regret")
    bundle, trust = write_regret_bundle(folder, np.random.default_rng(1))
    command = ["fog-server", "--bundles", bundle.parent, "--trust", trust]
    with (
        pytest.MonkeyPatch.context() as patch,
        running([*command, "--listen", "127.0.0.1:0"], folder / "fog.log") as fog,
    ):
        patch.setattr("edge_agent.loaded.Chain", None)  # set by Agents, taken back afterwards
        yield Agents(Site(bundle, trust, fog.wait_for(r"serving on (\S+)")))


def test_fixed_plan_is_kept_and_its_bytes_are_counted(agents):
    weather = Weather(20 * MBIT, 0.01)
    plan = next(p for p in agents.plans(weather) if p.key == (1, "int8", ""))
    windows = agents.run_fixed(weather.trace(), plan, lambda seen: len(seen) >= 5)
    assert {(1, "int8", "")} == {w.plan for w in windows}
    assert (0, 0) == lost_and_repeated(windows, len(windows))
    assert all(w.is_right and w.head_s >= 0.025 for w in windows)
    sent = [w for w in windows if w.where == "fog"]
    assert all(w.carried_bytes >= w.tx_bytes > w.payload_bytes == 4096 for w in sent)


def test_live_choice_answers_every_window_once(agents):
    """From a fast link to one on which the fog is of no use: each window has its own answer."""
    fast, slow = Weather(100 * MBIT, 0.001).trace(), Weather(20e3, 0.2).trace()
    windows, sent = agents.run_live(
        lambda now_s: fast(now_s) if now_s < 3.0 else slow(now_s),
        "latency",
        lambda seen: len(seen) >= 40,
    )
    assert (0, 0) == lost_and_repeated(windows, sent)
    assert all(w.is_right for w in windows)
    assert all(w.predicted_s is not None for w in windows if w.fallback is None)
