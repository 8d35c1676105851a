"""The closed loop on one machine: links grow slow, an alert fires, every agent gets better.

Real programs throughout: Prometheus, Alertmanager, webhook, job service, fog, agents on MIT-BIH.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import pytest
from loop_case import NAME, SLOW_BITS_PER_S, Site, site_with
from loop_programs import Agent, wait_until
from remaking import negate_output, remake, slow_down, want_memory

from headtail.bundle import read_bundle
from headtail.bundle.keys import read_signer, read_trust
from programs import BIN

NEEDED = ("prometheus", "prometheus-alertmanager")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, NEEDED)),
        reason=f"needs {' and '.join(NEEDED)} (apt-get install {' '.join(NEEDED)})",
    ),
]
MEASURED = 40
"""Windows of an agent over which a mean is taken."""


@pytest.fixture
def site(tmp_path: Path, real_data: Callable[[str], Path]) -> Iterator[Site]:
    """Return a site whose agents run the first bundle over fast links."""
    with site_with(tmp_path, real_data("mitdb").parent, is_watched=True) as site:
        yield site


def latency_s(agent: Agent, since: int = 0) -> float:
    """Return the mean latency of an agent's last windows, none before the number `since`."""
    return fmean(r["latency_s"] for r in agent.results()[since:][-MEASURED:])


def wait_for_windows(site: Site, count: int) -> None:
    """Wait until every agent has answered so many more."""
    wanted = {agent.name: len(agent.results()) + count for agent in site.agents}
    wait_until(
        lambda: all(len(a.results()) >= wanted[a.name] for a in site.agents),
        lambda: "\n".join(a.program.text for a in site.agents),
    )


def test_slow_links_lead_to_another_partition_point_on_every_agent(site):
    """From the alert to the last agent nobody does anything; the prediction holds within 20 %."""
    wait_for_windows(site, 5)
    assert {0} == {agent.point() for agent in site.agents}
    for agent in site.agents:
        agent.link.shape(SLOW_BITS_PER_S)
    wait_for_windows(site, MEASURED + 10)
    before_s = fmean(latency_s(agent) for agent in site.agents)
    site.answer_alerts()
    wait_until(lambda: "LatencyOverLimit" in site.firing(), site.firing)
    wait_until(lambda: site.active()["version"] != "1", site.tell)
    active = site.active()
    wait_until(lambda: site.all_run(active["digest"]), site.tell)
    wait_for_windows(site, MEASURED + 10)
    done = [(e["action"], e["by"]) for e in site.rollout()["events"] if e["version"] == "2"]
    assert [("promote", "rule"), ("canary", "127.0.0.1"), ("publish", "127.0.0.1")] == done
    points = {agent.point() for agent in site.agents}
    assert 1 == len(points)
    assert {0} != points
    after_s = fmean(latency_s(agent) for agent in site.agents)
    field = site.report()["field"]
    predicted_s = field["before"]["latency_s"] - field["after"]["latency_s"]
    assert predicted_s == pytest.approx(before_s - after_s, rel=0.2)
    wait_until(lambda: "LatencyOverLimit" not in site.firing(), site.firing)
    check_bad_bundles(site, active)
    for agent in site.agents:
        agent.program.stop()
        assert MEASURED < agent.check_exactly_once()


def check_bad_bundles(site: Site, active: dict[str, str]) -> None:
    """Publish bundles of wrong answers, of no speed and without a self-test that ends."""
    good = read_bundle(site.fetch(site.folder / "good.bundle"), read_trust(site.folder / "trust"))
    signer = read_signer(site.folder / "bundles.key")
    last = len(good.segments) - 1
    for version, changes, outputs in (
        ("100", {last: negate_output}, None),
        ("101", {0: slow_down}, None),
        ("102", {last: want_memory}, good.samples.outputs),
    ):
        path = site.folder / f"{version}.bundle"
        remake(good, path, signer, version, changes, outputs)
        to = ("--fog", site.fog)
        if version == "102":
            done = site.call(BIN / "fog-server", "publish", path, *to, expect=7)
            assert "self-test" in done.stderr
        else:
            site.call(BIN / "fog-server", "publish", path, *to)
            trial = ("--share", "34%", "--bake", "60s", "--wait", "4m", "--min-windows", "20")
            site.call(BIN / "fog-server", "canary", NAME, version, *trial, *to, expect=10)
        assert active["digest"] == site.active()["digest"]
        wait_until(lambda: site.all_run(active["digest"]), site.tell)
        wait_for_windows(site, 5)
