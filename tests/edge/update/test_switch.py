"""The bundle replaced in a running agent: each window once, by the bundle that was meant to."""

import numpy as np
import pytest

from edge_agent.update.state import read_state
from headtail.bundle import read_bundle
from headtail.v1 import control_pb2 as pb

DONE, FAILED = pb.UPDATE_STATE_DONE, pb.UPDATE_STATE_FAILED
ROLLED_BACK = pb.UPDATE_STATE_ROLLED_BACK


@pytest.fixture
def good(good_path, trust):
    """Return version 1.1.0."""
    return read_bundle(good_path, trust)


@pytest.fixture
def check(model_folder):
    """Return a function that compares what was written with the uncut model, window by window."""
    import onnxruntime as ort

    path = model_folder / "chain" / "whole.onnx"
    whole = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    def compare(fed, lines):
        expected = whole.run(["y"], {"x": np.stack(fed.windows)})[0]
        actual = np.array([line["output"] for line in lines])
        np.testing.assert_allclose(expected, actual, rtol=1e-4, atol=1e-6)

    return compare


def runs(lines: list[dict[str, object]]) -> list[tuple[str, int]]:
    """Return digest and partition point of each stretch of lines."""
    found = []
    for line in lines:
        one = line["bundle"], line["partition_point"]
        if not found or found[-1] != one:
            found.append(one)
    return found


@pytest.mark.parametrize("spool", ["", "off"])
def test_bundle_is_replaced_between_two_windows(
    feed, director, two_fogs, bundle, good_path, good, check, updates_folder, spool
):
    """Those before it are answered by the old head and tail, those after it by the new ones."""
    fed = feed(fog=two_fogs(good_path), spool=spool)
    fed.feed(20)
    director.direct(good.digest, reason="a test")
    fed.feed_until(lambda: director.is_told(DONE, good.digest))
    fed.feed(20)
    lines = fed.end()
    check(fed, lines)
    assert [(bundle.digest, 1), (good.digest, 2)] == runs(lines)
    assert {"fog"} == {line["where"] for line in lines}
    state = read_state(updates_folder)
    assert (good.digest, bundle.digest) == (state.current.digest, state.previous.digest)
    assert not state.is_trial
    kept = sorted(path.stem for path in updates_folder.glob("*.bundle"))
    assert sorted([good.digest, bundle.digest]) == kept


@pytest.mark.parametrize("spool", ["", "off"])
def test_bundle_is_replaced_while_plans_change(
    feed, director, two_fogs, bundle, good_path, good, check, spool
):
    """Whatever is chosen before and after: float32 answers alike at every point."""
    live = {"partition": "live", "encoding": "float32"}
    fed = feed(fog=two_fogs(good_path), spool=spool, **live)
    fed.feed(20)
    director.direct(good.digest, reason="a test")
    fed.feed_until(lambda: director.is_told(DONE, good.digest))
    fed.feed(20)
    lines = fed.end()
    check(fed, lines)
    digests = [line["bundle"] for line in lines]
    switch = digests.index(good.digest)
    assert [bundle.digest] * switch + [good.digest] * (len(lines) - switch) == digests


def test_bundle_of_an_update_runs_after_a_restart(feed, director, two_fogs, good_path, good, check):
    fogs = two_fogs(good_path)
    director.direct(good.digest)
    first = feed(fog=fogs)
    first.feed_until(lambda: director.is_told(DONE, good.digest))
    first.end()
    second = feed(fog=fogs)
    second.feed(20)
    lines = second.end()
    check(second, lines)
    assert [(good.digest, 2)] == runs(lines)
    assert 1 == director.fetches


def test_run_that_ends_during_a_trial_holds_nothing_against_the_bundle(
    feed, director, two_fogs, bundle, good_path, good, check, updates_folder
):
    """The next run goes on with the trial, from its first window."""
    fogs = two_fogs(good_path)
    director.direct(good.digest)
    first = feed(fog=fogs, update_windows=1000)
    first.feed_until(lambda: director.is_told(pb.UPDATE_STATE_TRIAL, good.digest))
    first.feed(5)
    lines = first.end()
    check(first, lines)
    assert (good.digest, 0) == (lines[-1]["bundle"], read_state(updates_folder).starts)
    second = feed(fog=fogs)
    second.feed_until(lambda: director.is_told(DONE, good.digest))
    lines = second.end()
    check(second, lines)
    assert {good.digest} == {line["bundle"] for line in lines}
    state = read_state(updates_folder)
    assert (good.digest, bundle.digest) == (state.current.digest, state.previous.digest)
    assert not state.is_trial


def test_run_that_begins_during_a_trial_goes_on_with_the_bundle_before(
    feed, director, two_fogs, bundle, bundle_path, good_path, good, check
):
    """Where that one is wanted again its windows are kept as ever, and written."""
    fogs = two_fogs(good_path)
    director.direct(good.digest)
    first = feed(fog=fogs, update_windows=1000)
    first.feed_until(lambda: director.is_told(pb.UPDATE_STATE_TRIAL, good.digest))
    first.end()
    second = feed(fog=fogs, update_windows=1000)
    second.feed_until(lambda: len(second.lines()) > 5)
    director.direct(bundle.digest)
    second.feed_until(lambda: director.is_told(DONE, bundle.digest))
    second.feed(100)
    lines = second.end()
    check(second, lines)
    assert [(good.digest, 2), (bundle.digest, 1)] == runs(lines)


def test_bundle_on_trial_is_withdrawn_by_a_directive_for_the_one_before(
    feed, director, two_fogs, bundle, bundle_path, good_path, good, check, updates_folder
):
    """And may come back: nothing is held against it."""
    fed = feed(fog=two_fogs(good_path), update_windows=1000)
    director.direct(good.digest)
    fed.feed_until(lambda: fed.lines() and fed.lines()[-1]["bundle"] == good.digest)
    director.direct(bundle.digest)
    fed.feed_until(lambda: director.is_told(DONE, bundle.digest))
    fed.feed(5)
    lines = fed.end()
    check(fed, lines)
    assert not any(tally.failed for tally in director.last().tallies)
    assert [(bundle.digest, 1), (good.digest, 2), (bundle.digest, 1)] == runs(lines)
    state = read_state(updates_folder)
    assert (bundle.digest, ()) == (state.current.digest, state.failed)


def test_third_bundle_takes_the_place_of_one_on_trial(
    feed, director, two_fogs, bundle, good_path, good, rewrite, check, tmp_path, updates_folder
):
    """The one to go back to is that which had passed."""
    path = rewrite(bundle, tmp_path, version="1.3.0", default_point=0)
    fogs = two_fogs(good_path, path)
    third = director.add(path)
    fed = feed(fog=fogs, update_windows=500)
    director.direct(good.digest)
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_TRIAL, good.digest))
    fed.feed(5)
    director.direct(third)
    fed.feed_until(lambda: director.is_told(DONE, third))
    lines = fed.end()
    check(fed, lines)
    state = read_state(updates_folder)
    assert (third, bundle.digest) == (state.current.digest, state.previous.digest)
    assert (third, 0) == runs(lines)[-1]


def test_damaged_bundle_gives_way_to_the_configured_one_and_is_fetched_again(
    feed, director, two_fogs, bundle, good_path, good, updates_folder
):
    fogs = two_fogs(good_path)
    director.direct(good.digest)
    first = feed(fog=fogs)
    first.feed_until(lambda: director.is_told(DONE, good.digest))
    first.end()
    (updates_folder / f"{good.digest}.bundle").write_bytes(b"torn")
    earlier = {status.run_id for status in director.statuses}
    second = feed(fog=fogs)
    second.feed_until(lambda: director.is_told(DONE, good.digest, earlier))
    assert [(bundle.digest, 1), (good.digest, 2)] == runs(second.end())
    assert 2 == director.fetches


def test_another_configured_bundle_wins_over_an_update(
    feed, director, two_fogs, bundle, bundle_path, good_path, good, rewrite, tmp_path
):
    """And the update is told anew."""
    fogs = two_fogs(good_path)
    director.direct(good.digest)
    first = feed(fog=fogs)
    first.feed_until(lambda: director.is_told(DONE, good.digest))
    first.end()
    director.current = None
    other = rewrite(bundle, tmp_path, version="1.0.1")
    digest = director.add(other)
    second = feed(fog=fogs, bundle=str(other))
    second.feed(20)
    assert {digest} == {line["bundle"] for line in second.end()}


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("outputs", pb.UPDATE_FAULT_SELF_TEST, "self-test of output 'y'"),
        ("stranger", pb.UPDATE_FAULT_BUNDLE, "signature invalid"),
    ],
)
def test_bundle_that_fails_before_the_switch_takes_no_window(
    feed, director, bundle, bad_path, start_fog, fault, kind, reason
):
    """And it is fetched once, however often it is directed."""
    digest = director.add(bad_path(fault))
    director.direct(digest)
    fed = feed(fog=(director.address, start_fog().address))
    fed.feed_until(lambda: director.is_told(FAILED, digest))
    assert (kind, True) == (director.last().fault, reason in director.last().reason)
    director.direct(digest, reason="again")
    fed.feed_until(lambda: director.last().generation == 2)
    fed.feed(10)
    assert [(bundle.digest, 1)] == runs(fed.end())
    assert 1 == director.fetches


@pytest.mark.parametrize(
    ("fault", "reason", "slow_ratio"),
    [
        ("nan", "NaN", 1000.0),  # found here, or by the fog that refuses it
        ("raises", "indices element out of data bounds", 1000.0),
        ("slow", "the head takes", 3.0),
    ],
)
@pytest.mark.parametrize("point", ["1", "3"])
def test_bundle_whose_first_windows_fail_is_rolled_back(
    feed, director, two_fogs, bundle, bad_path, check, updates_folder, wait_until,
    fault, reason, slow_ratio, point,
):  # fmt: skip
    """Its windows are answered by the bundle before, and it is not tried again."""
    path = bad_path(fault)
    fed = feed(fog=two_fogs(path), point=point, update_windows=1000, update_slow_ratio=slow_ratio)
    digest = director.add(path)
    director.direct(digest)
    fed.feed_until(lambda: fed.lines() and fed.lines()[-1]["bundle"] == digest)
    # Of many good heads a few slow ones are not the median: no more until the fog knows.
    wait_until(lambda: director.is_told(pb.UPDATE_STATE_TRIAL, digest))
    fed.feed_until(lambda: director.is_told(ROLLED_BACK, digest), bad=True)
    last = director.last()
    assert (pb.UPDATE_FAULT_FIRST_WINDOWS, bundle.digest) == (last.fault, last.digest)
    assert reason in last.reason
    fed.feed_until(lambda: {t.digest: t.failed for t in director.last().tallies}.get(digest, 0) > 0)
    fed.feed(20)
    lines = fed.end()
    check(fed, lines)
    assert (bundle.digest, int(point)) == runs(lines)[-1]
    state = read_state(updates_folder)
    assert (bundle.digest, [digest]) == (state.current.digest, [f.digest for f in state.failed])
    assert [bundle.digest] == [path.stem for path in updates_folder.glob("*.bundle")]
