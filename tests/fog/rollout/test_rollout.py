"""A rollout through a running fog: publish, canary, promote, roll back, retire."""

import math

import grpc
import numpy as np
import pytest
from operating import actions, failure, tally, wait_for

from headtail.v1 import control_pb2 as pb

X = {"x": np.zeros((1, 16, 2), np.float32)}
Status = grpc.StatusCode


def test_candidate_is_run_by_nobody_and_the_promoted_one_by_all(managed, fog, connect, versions):
    """An empty version means the active one, and the retired one goes on being served."""
    client = connect(fog)
    assert {"1.0": "active", "2.0": "candidate"} == managed.states()
    assert "1.0" == client.infer("chain", X).version
    error = failure(lambda: client._infer(client.request("chain", X, version="2.0"), timeout=9))
    assert Status.NOT_FOUND == error[0]
    assert versions["1.0"][1] == managed.report("a").digest

    managed.promote("2.0")
    assert {"1.0": "retired", "2.0": "active"} == managed.states()
    assert "2.0" == client.infer("chain", X).version
    for version in ("1.0", "2.0"):
        assert client._infer(client.request("chain", X, version=version), timeout=9)
    assert versions["2.0"][1] == managed.report("a").digest

    managed.roll_back()
    assert {"1.0": "active", "2.0": "retired"} == managed.states()
    directive = managed.report("a")
    assert (versions["1.0"][1], True) == (directive.digest, directive.is_rollback)
    expected = [("publish", "1.0"), ("promote", "1.0"), ("publish", "2.0"), ("promote", "2.0"),
                ("roll_back", "2.0")]  # fmt: skip
    assert expected == actions(managed.model())
    assert 5 == managed.model().generation


def test_good_canary_is_promoted_by_the_rule(managed, versions):
    """Half of ten agents run it, the same ones each time; their numbers are as good."""
    managed.canary("2.0", share_ratio=0.5, bake_s=0.0, min_windows=100, min_shadows=0)
    old, new = versions["1.0"][1], versions["2.0"][1]
    agents = [f"agent-{i}" for i in range(10)]
    told = {agent: managed.report(agent, old).digest for agent in agents}
    assert {old, new} == set(told.values())
    assert told == {agent: managed.report(agent, old).digest for agent in agents}
    wait_for(lambda: len(managed.model().agents) == 10)
    for agent, digest in told.items():
        managed.report(agent, digest, run_id="1", tallies=[tally(digest, 5)])
    wait_for(lambda: managed.model().canary.windows or managed.states()["2.0"] == "active")
    for agent, digest in told.items():
        managed.report(agent, digest, run_id="1", tallies=[tally(digest, 105)])
    wait_for(lambda: managed.states() == {"1.0": "retired", "2.0": "active"}, managed.model)
    event = managed.model().events[0]
    assert ("promote", "rule") == (event.action, event.by)
    assert "within every limit" in event.reason
    assert {new} == {managed.report(agent).digest for agent in agents}


def test_slow_canary_is_rolled_back_by_the_rule(managed, versions):
    """Ten times slower than the active one, long before it has baked."""
    managed.canary("2.0", share_ratio=0.5, bake_s=1000.0)
    old, new = versions["1.0"][1], versions["2.0"][1]
    for windows in (0, 50):
        for agent in map(str, range(10)):
            digest = managed.report(agent).digest
            latency_s = 0.1 if digest == new else 0.01
            managed.report(agent, digest, run_id="1", tallies=[tally(digest, windows, latency_s)])
        if not windows:
            wait_for(lambda: len(managed.model().agents) == 10)
            managed.report("0", old, state=pb.UPDATE_STATE_FAILED)  # writes what was reported
    wait_for(lambda: managed.states() == {"1.0": "active", "2.0": "retired"}, managed.model)
    event = managed.model().events[0]
    assert ("roll_back", "rule") == (event.action, event.by)
    assert "latency: expected at most 0.0125, found 0.1 (active: 0.01)" == event.reason


def test_agent_that_gives_a_canary_up_ends_it(managed, versions):
    """A self-test that fails on one device is enough, a broken link is not."""
    managed.canary("2.0", share_ratio=1.0)
    directive = managed.report("a", versions["1.0"][1])
    assert pb.ROLE_CANARY == directive.role
    assert versions["1.0"][1] == directive.shadow_digest
    fields = {"target_digest": directive.digest, "generation": directive.generation}
    managed.report("a", fault=pb.UPDATE_FAULT_LINK, state=pb.UPDATE_STATE_FAILED, **fields)
    assert pb.VERDICT_BAKING == managed.model().canary.verdict
    managed.report("a", fault=pb.UPDATE_FAULT_SELF_TEST, state=pb.UPDATE_STATE_FAILED,
                   reason="y differs", **fields)  # fmt: skip
    wait_for(lambda: managed.states()["2.0"] == "retired", managed.model)
    assert "agent a gave it up: self_test: y differs" == managed.model().events[0].reason
    # Told again at a new trial, what it said of the one before does not count.
    managed.canary("2.0", share_ratio=1.0)
    managed.report("a", fault=pb.UPDATE_FAULT_SELF_TEST, state=pb.UPDATE_STATE_FAILED, **fields)
    assert "canary" == managed.states()["2.0"]


def test_of_two_operators_the_second_is_told(managed, operate, fog):
    """Each saw generation 3; one promotes, the other's canary is refused and changes nothing."""
    other = operate(fog.address)
    seen = other.model().generation
    managed.promote("2.0", generation=seen)
    status, text = failure(lambda: other.canary("2.0", generation=seen))
    assert Status.ABORTED == status
    assert "it was made for generation 3, now it is 4 (promote of 2.0 by 127.0.0.1)" in text
    status, text = failure(lambda: other.canary("2.0"))
    assert (Status.FAILED_PRECONDITION, True) == (status, "it is active" in text)
    assert 4 == other.model().generation


def test_small_fleet_has_one_canary(managed, fog, start_managed, operate, versions):
    """A tenth of three agents is nobody, so one of them is asked in, and stays."""
    fog.drain()
    managed = operate(start_managed(report_s=0.01).address)
    for agent in "abc":
        managed.report(agent, versions["1.0"][1])
    managed.canary("2.0", share_ratio=1e-9)
    wait_for(lambda: len(managed.model().canary.agents) == 1, managed.model)
    (chosen,) = managed.model().canary.agents
    for agent in "abc":
        role = pb.ROLE_CANARY if agent == chosen else pb.ROLE_ACTIVE
        assert role == managed.report(agent).role


@pytest.mark.parametrize(
    "rules",
    [
        {"bake_s": math.inf},
        {"share_ratio": math.nan},
        {"min_agreement_ratio": 1.5},
        {"max_latency_increase_ratio": -1.0},
    ],
    ids=str,
)
def test_rules_that_cannot_be_are_refused(managed, rules):
    assert Status.INVALID_ARGUMENT == failure(lambda: managed.canary("2.0", **rules))[0]


def test_share_of_nobody_takes_everybody_back(managed):
    managed.canary("2.0", share_ratio=1.0)
    assert pb.ROLE_CANARY == managed.report("a").role
    managed.rollouts.SetCanaryShare(pb.SetCanaryShareRequest(name="chain", share_ratio=0.0))
    assert pb.ROLE_ACTIVE == managed.report("a").role
    call = managed.rollouts.SetCanaryShare
    error = failure(lambda: call(pb.SetCanaryShareRequest(name="chain", share_ratio=2.0)))
    assert Status.INVALID_ARGUMENT == error[0]


def test_retired_bundle_is_kept_while_an_agent_runs_it(managed, versions, folder):
    managed.promote("2.0")
    managed.roll_back()
    managed.report("a", versions["2.0"][1])
    status, text = failure(lambda: managed.retire("2.0"))
    assert (Status.FAILED_PRECONDITION, True) == (status, "is run by 1 agents still" in text)
    managed.report("a", versions["1.0"][1])
    managed.retire("2.0")
    record = next(b for b in managed.model().bundles if b.bundle.version == "2.0")
    assert not record.is_stored
    assert ["chain-1.0.bundle"] == [p.name for p in folder.rglob("*.bundle")]


def test_watching_agent_is_told_of_each_change_once(managed, versions):
    """What does not concern it, as a candidate, is no news."""
    old, new = versions["1.0"][1], versions["2.0"][1]
    directives = managed.control.WatchDirectives(
        pb.AgentStatus(agent="a", name="chain", digest=old)
    )
    assert old == next(directives).digest
    managed.publish(versions["3.0"][0])
    managed.canary("2.0", share_ratio=1.0)
    told = next(directives)
    assert (new, pb.ROLE_CANARY) == (told.digest, told.role)
    managed.roll_back()
    assert (old, True) == ((told := next(directives)).digest, told.is_rollback)
    directives.cancel()


def test_watch_ends_when_the_fog_drains(managed, fog):
    directives = managed.control.WatchDirectives(pb.AgentStatus(agent="a", name="chain"))
    next(directives)
    fog.drain()
    assert [] == list(directives)
    assert Status.OK == directives.code()


@pytest.mark.parametrize("method", ["report", "watch"])
def test_agent_of_an_unknown_model_is_told_so(managed, method):
    status = pb.AgentStatus(agent="a", name="nobody")
    call = {
        "report": lambda: managed.control.ReportStatus(status, timeout=9),
        "watch": lambda: next(managed.control.WatchDirectives(status, timeout=9)),
    }[method]
    assert Status.NOT_FOUND == failure(call)[0]


def test_bundle_is_fetched_by_digest_and_gone_on_with(managed, versions):
    path, digest = versions["1.0"]
    data = path.read_bytes()

    def fetch(**fields):
        request = pb.FetchBundleRequest(digest=digest, **fields)
        parts = list(managed.control.FetchBundle(request, timeout=9))
        assert ("1.0", pb.BUNDLE_STATE_ACTIVE) == (parts[0].bundle.version, parts[0].bundle.state)
        return b"".join(part.chunk for part in parts)

    assert data == fetch()
    assert data[100:] == fetch(offset_bytes=100)
    assert b"" == fetch(offset_bytes=len(data))
    assert Status.INVALID_ARGUMENT == failure(lambda: fetch(offset_bytes=len(data) + 1))[0]


def test_fog_without_a_rollout_directs_to_the_newest_and_refuses_operators(start_fog, operate):
    operator = operate(start_fog().address)
    directive = operator.report("a")
    assert ("1.10.0", pb.ROLE_ACTIVE) == (directive.version, directive.role)
    watch = operator.control.WatchDirectives(pb.AgentStatus(agent="a", name="chain"))
    assert "1.10.0" == next(watch).version
    watch.cancel()
    status, text = failure(operator.model)
    assert (Status.FAILED_PRECONDITION, True) == (status, "start it with --rollout" in text)
