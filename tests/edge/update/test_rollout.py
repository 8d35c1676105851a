"""The agent under a real fog that keeps a rollout: canary, promotion, going back."""

import shutil

import pytest
from operating import Operator

from edge_agent.bundle_fetch import fetch_bundle
from edge_agent.update.state import read_state
from fog_server.config import Config as FogConfig
from fog_server.config import Rollout, Wire
from fog_server.server import FogServer
from headtail.bundle import read_bundle
from headtail.v1 import control_pb2 as pb


@pytest.fixture
def operator(bundle_path, key_folder, tmp_path):
    """Return the operator of a fog whose active bundle is version 1.0.0."""
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(bundle_path, folder)
    server = FogServer(
        FogConfig(
            bundles=str(folder),
            listen="127.0.0.1:0",
            trust=str(key_folder / "trust"),
            wire=Wire(settle_s=0.05),
            rollout=Rollout(enabled=True, poll_s=0.05, report_s=0.2),
        )
    )
    operator = Operator(server.address)
    operator.address = server.address
    yield operator
    operator.channel.close()
    server.drain()


def agent_of(operator: Operator) -> pb.AgentStatus:
    """Return what the fog last heard of the only agent."""
    agents = operator.model().agents
    return agents[0].status if agents else pb.AgentStatus()


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
