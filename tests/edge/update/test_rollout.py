"""The agent under a real fog that keeps a rollout: canary, promotion, going back."""

import shutil
from dataclasses import replace

import msgspec
import pytest
from operating import Operator

from edge_agent.bundle_fetch import fetch_bundle
from edge_agent.update.state import read_state
from fog_server.config import Config as FogConfig
from fog_server.config import Rollout, Wire
from fog_server.server import FogServer
from headtail.bundle import read_bundle
from headtail.bundle.archive import describe_member
from headtail.v1 import control_pb2 as pb


@pytest.fixture
def start_rollout(bundle_path, key_folder, tmp_path):
    """Return a function that starts a fog whose active bundle is 1.0.0, or starts it again."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(bundle_path, folder)
    servers = []

    def start(listen: str = "127.0.0.1:0") -> FogServer:
        config = FogConfig(
            bundles=str(folder),
            listen=listen,
            trust=str(key_folder / "trust"),
            wire=Wire(settle_s=0.05),
            rollout=Rollout(enabled=True, poll_s=0.05, report_s=0.2),
        )
        servers.append(FogServer(config))
        return servers[-1]

    yield start
    for server in servers:
        server.drain()


@pytest.fixture
def server(start_rollout):
    """Return such a fog."""
    return start_rollout()


@pytest.fixture
def operator(server):
    """Return its operator."""
    operator = Operator(server.address)
    operator.address = server.address
    yield operator
    operator.channel.close()


def agent_of(operator: Operator) -> pb.AgentStatus:
    """Return what the fog last heard of the only agent."""
    agents = operator.model().agents
    return agents[0].status if agents else pb.AgentStatus()


def compared_by(operator: Operator, digest: str) -> tuple[int, int]:
    """Return how many windows its agents ran through another bundle too, and how many agreed."""
    found = [
        (shadow.windows, shadow.agreed)
        for agent in operator.model().agents
        for tally in agent.status.tallies
        for shadow in tally.shadows
        if tally.digest == digest
    ]
    return sum(windows for windows, _ in found), sum(agreed for _, agreed in found)


def bundles_of(lines: list[dict[str, object]]) -> list[str]:
    """Return the digests of the lines, each once for each stretch."""
    digests = [line["bundle"] for line in lines]
    return [d for i, d in enumerate(digests) if not i or digests[i - 1] != d]


def test_canary_is_taken_up_and_given_back_at_the_fogs_word(
    feed, operator, bundle, good_path, trust
):
    """Version 1.1.0 for every agent, then version 1.0.0 again; each window once."""
    good = read_bundle(good_path, trust)
    operator.publish(good_path)
    fed = feed(fog=operator.address, agent="pi-1")
    fed.feed_until(lambda: agent_of(operator).digest == bundle.digest)
    operator.canary("1.1.0", share_ratio=1.0, min_agreement_ratio=0.0, promotes=False)
    fed.feed_until(lambda: agent_of(operator).state == pb.UPDATE_STATE_DONE)
    status = agent_of(operator)
    assert (good.digest, bundle.digest) == (status.digest, status.previous_digest)
    fed.feed_until(lambda: operator.model().canary.windows >= 20)
    operator.roll_back()
    fed.feed_until(
        lambda: (
            agent_of(operator).digest == bundle.digest
            and agent_of(operator).state == pb.UPDATE_STATE_DONE
            and agent_of(operator).target_digest == bundle.digest
        )
    )
    lines = fed.end()
    assert [bundle.digest, good.digest, bundle.digest] == bundles_of(lines)
    assert {"fog"} == {line["where"] for line in lines}


def test_canary_whose_first_windows_fail_is_retired(
    feed, operator, bundle, bad_path, updates_folder
):
    """The agent goes back by itself and says why; the fog then takes the canary back."""
    path = bad_path("raises")
    digest = operator.publish(path).bundle.digest
    fed = feed(fog=operator.address, agent="pi-1", point="3")
    fed.feed_until(lambda: agent_of(operator).digest == bundle.digest)
    operator.canary("1.2.0", share_ratio=1.0, min_agreement_ratio=0.0)
    fed.feed_until(lambda: operator.states()["1.2.0"] == "retired", bad=True)
    lines = fed.end()
    assert bundle.digest == lines[-1]["bundle"]
    assert [digest] == [f.digest for f in read_state(updates_folder).failed]


@pytest.fixture
def retrained_path(bundle, rewrite, tmp_path):
    """Return version 1.1.0, at another point, whose first segment is another file."""
    content = bundle.segments[0] + b"\x32\x05other"  # ModelProto.doc_string
    first, *rest = bundle.manifest.segments
    first = msgspec.structs.replace(first, member=describe_member(first.member.path, content))
    changed = replace(bundle, segments=(content, *bundle.segments[1:]))
    segments = (first, *rest)
    return rewrite(changed, tmp_path, version="1.1.0", default_point=2, segments=segments)


COMPARED = {
    "share_ratio": 1.0,
    "shadow_ratio": 1.0,
    "bake_s": 0.1,
    "min_windows": 30,
    "min_shadows": 60,
    "needs_agreement": True,
    "max_latency_increase_ratio": 1e6,
}
"""Rules of a canary that stands or falls with its answers."""


def test_canary_at_another_point_falls_by_what_agents_see(feed, operator, bundle, bad_path):
    """The fog has no window of it, and the samples agree."""
    path = bad_path("blind", default_point=2)
    digest = operator.publish(path).bundle.digest
    fed = feed(fog=operator.address, agent="pi-1")
    fed.feed_until(lambda: agent_of(operator).digest == bundle.digest, bad=True)
    operator.canary("1.2.0", **COMPARED)
    fed.feed_until(lambda: operator.states()["1.2.0"] == "retired", bad=True)
    reason = operator.model().events[0].reason
    assert reason.startswith("agreement: expected at least 0.9, found 0."), reason
    windows, agreed = compared_by(operator, digest)
    assert windows >= 1
    assert 0 == agreed
    fed.feed_until(lambda: fed.lines()[-1]["bundle"] == bundle.digest, bad=True)
    assert [bundle.digest, digest, bundle.digest] == bundles_of(fed.end())


def test_canary_at_another_point_is_promoted_by_what_agents_see(
    feed, operator, bundle, retrained_path, trust
):
    """It waits for these windows: its agreement has to be shown, and the fog cannot compare."""
    good = read_bundle(retrained_path, trust)
    operator.publish(retrained_path)
    fed = feed(fog=operator.address, agent="pi-1")
    fed.feed_until(lambda: agent_of(operator).digest == bundle.digest)
    operator.canary("1.1.0", **COMPARED)
    fed.feed_until(lambda: operator.states()["1.1.0"] != "canary")
    assert "active" == operator.states()["1.1.0"], operator.model().events[0].reason
    windows, agreed = compared_by(operator, good.digest)
    assert windows == agreed >= 30
    assert [bundle.digest, good.digest] == bundles_of(fed.end())


def test_fog_that_starts_again_goes_on_with_what_agents_saw(
    feed, operator, server, start_rollout, bundle, retrained_path, trust
):
    """Once while the canary runs: what was compared before and after counts together."""
    good = read_bundle(retrained_path, trust)
    operator.publish(retrained_path)
    fed = feed(fog=operator.address, agent="pi-1")
    fed.feed_until(lambda: agent_of(operator).digest == bundle.digest)
    operator.canary("1.1.0", **{**COMPARED, "min_shadows": 200})
    fed.feed_until(lambda: compared_by(operator, good.digest)[0] >= 20)
    server.drain()
    operator.channel.close()
    again = Operator(start_rollout(operator.address).address)
    assert "canary" == again.states()["1.1.0"]
    fed.feed_until(lambda: again.states()["1.1.0"] != "canary")
    assert "active" == again.states()["1.1.0"], again.model().events[0].reason
    assert compared_by(again, good.digest)[0] >= 100
    again.channel.close()
    assert [bundle.digest, good.digest] == bundles_of(fed.end())


def test_fog_without_a_rollout_names_its_newest(feed, start_fog, bundle_path, good_path, tmp_path):
    """Copying a bundle into its folder is enough."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in (bundle_path, good_path):
        shutil.copy(path, folder)
    fed = feed(fog=start_fog(bundles=folder).address)
    fed.feed_until(lambda: fed.lines() and fed.lines()[-1]["partition_point"] == 2)
    fed.end()


def test_agent_without_a_directive_begins_with_the_active_bundle(
    operator, good_path, tmp_path, trust
):
    """The newest one is the canary."""
    operator.publish(good_path)
    operator.canary("1.1.0", share_ratio=1.0, min_agreement_ratio=0.0, promotes=False)
    fogs, folder = [operator.address], tmp_path / "state"
    assert "1.0.0" == fetch_bundle(fogs, ("chain", ""), folder, trust).manifest.version
    assert "1.1.0" == fetch_bundle(fogs, ("chain", "1.1.0"), folder, trust).manifest.version
