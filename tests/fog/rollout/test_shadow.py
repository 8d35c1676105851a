"""Windows that are run through the canary too: what can be compared, and what it costs nobody."""

import numpy as np
import pytest
from operating import tally, wait_for

from fog_server.rollout.shadow import Watch, WatchedTail, shared_points
from fog_server.tail import Tail
from headtail.agreement import count_agreed
from headtail.bundle import read_bundle
from headtail.v1 import control_pb2 as pb


@pytest.fixture
def windows():
    """Return windows as the samples are."""
    return np.random.default_rng(5).standard_normal((40, 16, 2)).astype(np.float32)


def test_tails_behind_the_same_head_can_be_compared(versions, opposite_bundle, remade, trust):
    """Up to the first segment that differs; nowhere where the windows are not the same."""
    manifest = read_bundle(versions["1.0"][0], trust).manifest
    other = read_bundle(opposite_bundle, trust).manifest
    assert {0, 1, 2} == shared_points(manifest, other)

    def touch(model):
        model.doc_string = "other bytes"

    head = read_bundle(remade("7.0", {0: touch}), trust).manifest
    assert {0} == shared_points(manifest, head)


def test_canary_with_opposite_answers_never_reaches_an_agent(managed, opposite_bundle, versions):
    """Four samples of each bundle suffice, before anybody is told."""
    managed.publish(opposite_bundle)
    rollout = managed.canary("4.0", share_ratio=1.0)
    assert not rollout.HasField("canary")
    assert ("roll_back", "rule") == (rollout.events[0].action, rollout.events[0].by)
    assert "agreement: expected at least 0.9, found 0" == rollout.events[0].reason
    assert versions["1.0"][1] == managed.report("a").digest


def test_shadowed_windows_speak_for_a_canary(managed, fog, connect, shifted_bundle, versions,
                                             windows):  # fmt: skip
    """Requests to the active tail are run through the canary; other numbers, the same answer."""
    managed.publish(shifted_bundle)
    managed.canary("5.0", share_ratio=0.5, shadow_ratio=1.0, min_agreement_ratio=0.9)
    client = connect(fog)
    activation = {"x": windows}
    for _ in range(3):
        client.infer("chain", activation)

    def compared():
        found = {c.what: c for c in managed.model().canary.comparisons}
        return found["agreement"]

    # Beside the windows of the samples, every window of the three requests.
    tails = fog._control._managed._database.tails
    wait_for(lambda: sum(c.shadowed for c in tails("chain", 5).values()) == 120)
    assert 1.0 == compared().canary
    assert {"1.0": "active", "2.0": "candidate", "5.0": "canary"} == managed.states()


def test_agents_shadows_count(managed, versions):
    """Canary agents compare on the device; enough differences end the canary."""
    managed.canary("2.0", share_ratio=1.0)
    old, new = versions["1.0"][1], versions["2.0"][1]
    shadow = pb.Shadow(digest=old, windows=100, agreed=60)
    managed.report("a", new, run_id="1", tallies=[tally(new, 100, shadows=[shadow])])
    wait_for(lambda: managed.states()["2.0"] == "retired", managed.model)
    # With the eight windows of the samples, which agree.
    assert f"agreement: expected at least 0.9, found {68 / 108:.4g}" == (
        managed.model().events[0].reason
    )


def test_without_a_canary_no_tail_is_watched(managed, fog):
    """And with one, the tails of that model alone."""
    store = fog._control.store
    assert Tail is type(store.tail("chain"))
    managed.canary("2.0")
    assert WatchedTail is type(store.tail("chain"))
    assert WatchedTail is type(store.tail("chain", "2.0"))
    managed.roll_back()
    assert Tail is type(store.tail("chain"))


@pytest.mark.parametrize("windows", [1, 3, 7])
@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.3, 1.0])
def test_share_of_windows_is_kept(ratio, windows):
    """Within one request, of a thousand."""
    watch = Watch(ratio, lambda job: None)
    chosen = sum(windows for _ in range(1000) if watch.ended(windows, is_failed=False))
    assert abs(chosen - ratio * 1000 * windows) <= windows


def test_agreement_is_the_same_answer(versions, trust):
    """Of a classifier the largest entry; NaN never agrees."""
    manifest = read_bundle(versions["1.0"][0], trust).manifest
    first = {"y": np.array([[1, 2, 3], [3, 2, 1], [0, 1, 0]], np.float32)}
    second = {"y": np.array([[7, 8, 9], [1, 2, 1], [0, np.nan, 0]], np.float32)}
    assert (3, 1) == count_agreed(manifest, first, second)
