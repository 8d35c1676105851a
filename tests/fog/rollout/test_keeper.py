"""What happens by itself, on a clock that the tests turn."""

import shutil

import pytest
from operating import wait_for
from prometheus_client import CollectorRegistry

from fog_server.config import Rollout
from fog_server.rollout.fleet import ManagedFleet, Source
from fog_server.rollout.measurements import Counts, Report
from fog_server.rollout.rollouts import Order, Ref
from fog_server.rollout.rules import Rules
from fog_server.rollout.state import State
from fog_server.store import BundleStore
from headtail.segment import SessionOptions

ORDER = Order("ann")
DAY_S = 86400.0


class Clock:
    """Unix time as the test has it."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1e9

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock():
    """Return a clock that the test turns."""
    return Clock()


@pytest.fixture
def fleet(template, folder, trust, clock):
    """Return a fleet where version 1.0 is active and 2.0 a candidate; its own thread sleeps."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    store = BundleStore()
    settings = Rollout(enabled=True, poll_s=3600.0, grace_s=DAY_S)
    source = Source(folder, trust, SessionOptions())
    fleet = ManagedFleet(settings, source, store, lambda: None, CollectorRegistry(), clock)
    yield fleet
    fleet.close()
    store.close()


def states(fleet):
    """Return the states by version."""
    return {e.version: e.state for e in fleet.rollouts.model("chain").bundles}


def stored(fleet):
    """Return the versions whose files are here."""
    return [e.version for e in fleet.rollouts.model("chain").bundles if e.is_stored]


def report(fleet, agent, digest, **fields):
    """Report as an agent, and let it be written."""
    fleet.agents.report(Report(agent, "chain", digest, run_id="1", **fields))
    fleet.keeper.tick()


def test_retired_bundle_is_removed_when_its_grace_is_over_and_nobody_runs_it(
    fleet, clock, versions
):
    """Not the one to go back to, and not while an agent was heard of that runs it."""
    fleet.rollouts.promote(Ref("chain", "2.0"), ORDER)
    fleet.rollouts.roll_back("chain", ORDER)
    report(fleet, "a", versions["2.0"][1])
    for days, agent_runs in ((0.5, "2.0"), (1.1, "2.0"), (1.5, "1.0")):
        clock.now = 1e9 + days * DAY_S
        report(fleet, "a", versions[agent_runs][1])
        expected = ["1.0"] if agent_runs == "1.0" else ["1.0", "2.0"]
        assert expected == stored(fleet)
    assert "grace" == fleet.rollouts.model("chain").events[0].by


def test_bundle_to_go_back_to_is_kept(fleet, clock):
    fleet.rollouts.promote(Ref("chain", "2.0"), ORDER)
    clock.now += 100 * DAY_S
    fleet.keeper.tick()
    assert ["1.0", "2.0"] == stored(fleet)
    fleet.rollouts.roll_back("chain", ORDER)
    assert {"1.0": State.ACTIVE, "2.0": State.RETIRED} == states(fleet)


def test_canary_bakes_as_long_as_it_was_told(fleet, clock, versions):
    """A second before it is due it is none the less good and goes on."""
    old, new = versions["1.0"][1], versions["2.0"][1]
    rules = Rules(share_ratio=1.0, bake_s=300.0, min_windows=10)
    fleet.rollouts.start_canary(Ref("chain"), rules, ORDER)
    for agent, digest in (("a", new), ("b", old)):
        report(fleet, agent, digest, tallies={digest: Counts(windows=0)})
        report(fleet, agent, digest, tallies={digest: Counts(windows=50, latency_s=0.5)})
    clock.now += 299
    fleet.keeper.tick()
    assert State.CANARY is states(fleet)["2.0"]
    clock.now += 1
    fleet.keeper.tick()
    assert State.ACTIVE is states(fleet)["2.0"]


@pytest.mark.parametrize("promotes", [True, False])
def test_rule_that_may_not_promote_leaves_it_to_somebody(fleet, clock, versions, promotes):
    rules = Rules(share_ratio=1.0, bake_s=0.0, min_windows=1, promotes=promotes)
    fleet.rollouts.start_canary(Ref("chain"), rules, ORDER)
    report(fleet, "a", versions["2.0"][1], tallies={versions["2.0"][1]: Counts(windows=5)})
    assert (State.ACTIVE if promotes else State.CANARY) is states(fleet)["2.0"]


def test_canary_that_is_alone_is_held_against_what_was_before(fleet, clock, versions):
    """Where every agent runs it, its agents' own windows under the active one are the measure."""
    old, new = versions["1.0"][1], versions["2.0"][1]
    before = Counts(windows=100, latency_s=1.0)
    report(fleet, "a", old, tallies={old: before})
    rules = Rules(share_ratio=1.0, bake_s=0.0, min_windows=10)
    fleet.rollouts.start_canary(Ref("chain"), rules, ORDER)
    slow = Counts(windows=50, latency_s=1.0)
    report(fleet, "a", new, tallies={old: before, new: slow})
    event = fleet.rollouts.model("chain").events[0]
    assert "latency: expected at most 0.0125, found 0.02 (active: 0.01)" == event.reason


def test_file_that_nobody_knows_is_swept_away(fleet, folder):
    """As a fog leaves it that was killed between placing a file and saying so."""
    stray = folder / "rollout" / f"{'f' * 64}.bundle"
    stray.write_bytes(b"x")
    fleet.keeper.tick()
    assert not stray.exists()
    assert (folder / "chain-1.0.bundle").exists()


def test_canary_whose_file_is_damaged_is_rolled_back(fleet, folder, versions, trust, clock):
    """A second server that starts meanwhile cannot serve it, and says so."""
    rules = Rules(share_ratio=1.0)
    fleet.rollouts.start_canary(Ref("chain"), rules, ORDER)
    (folder / "rollout" / f"{versions['2.0'][1]}.bundle").write_bytes(b"damaged")
    store = BundleStore()
    settings = Rollout(enabled=True, poll_s=0.02)
    source = Source(folder, trust, SessionOptions())
    other = ManagedFleet(settings, source, store, lambda: None, CollectorRegistry(), clock)
    wait_for(lambda: states(fleet)["2.0"] is State.RETIRED)
    other.close()
    store.close()
    assert "no readable zip file" in fleet.rollouts.model("chain").events[0].reason
