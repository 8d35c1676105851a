"""Directives over gRPC: a fog that has none, is away, or sends something else."""

import grpc
import pytest

from edge_agent.update import follower
from edge_agent.update.state import read_state
from edge_agent.update.status import decode_directive
from headtail.v1 import control_pb2 as pb


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Have a fog asked again at once."""
    monkeypatch.setattr(follower, "FIRST_S", 0.01)
    monkeypatch.setattr(follower, "CAP_S", 0.05)


def failed(director) -> pb.AgentStatus:
    """Return the last report of a failed update; the next attempt may be under way already."""
    return next(s for s in reversed(director.statuses) if s.state == pb.UPDATE_STATE_FAILED)


def test_late_answer_to_a_report_undoes_nothing(feed, director, two_fogs, good_path, bundle):
    """The fog had answered before it said something else on the open call."""
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest)
    fed = feed(fog=fogs)
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_DONE, digest))
    director.direct(digest, reason="again")
    fed.feed_until(lambda: director.last().generation == 2)
    director.late = pb.Directive(
        name="chain", version="1.0.0", digest=bundle.digest, generation=1, report_interval_s=0.2
    )
    seen = len(director.statuses)
    fed.feed_until(lambda: len(director.statuses) > seen + 3)
    assert digest == fed.end()[-1]["bundle"]
    assert {digest, ""} == {status.target_digest for status in director.statuses}


def test_fog_that_knows_no_directives_is_left_alone(feed, scripted_fog, bundle, caplog):
    """It is asked once, and windows go on."""
    caplog.set_level("INFO")
    fed = feed(fog=scripted_fog.address)
    fed.feed_until(lambda: "no updates from fog" in caplog.text)
    fed.feed(30)
    assert {bundle.digest} == {line["bundle"] for line in fed.end()}
    assert 1 == caplog.text.count("UNIMPLEMENTED")


@pytest.mark.parametrize(
    "fields",
    [
        {"digest": "../../etc/passwd"},
        {"digest": "A" * 64},
        {"digest": "a" * 64, "version": "1/../../x"},
        {"digest": "a" * 64, "name": "../x"},
        {"digest": "a" * 64 + "\n"},
    ],
)
def test_names_that_no_bundle_can_have_are_left_out(fields):
    """They would become parts of files' names."""
    message = pb.Directive(**{"name": "chain", "version": "1.0", **fields})
    assert None is decode_directive(message)


def test_no_fog_is_no_hindrance(feed, unused_address, director, good_path):
    """Windows are finished here; the directive is found once a fog is there."""
    digest = director.add(good_path)
    director.direct(digest)
    fed = feed(fog=(unused_address, director.address), point="3")
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_DONE, digest))
    assert digest == fed.end()[-1]["bundle"]


def test_fetch_that_fails_is_tried_again(feed, director, two_fogs, good_path, monkeypatch):
    """It says nothing against the bundle."""
    from edge_agent.update import updater

    monkeypatch.setattr(updater, "FIRST_S", 0.05)
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.fetch_error = grpc.StatusCode.UNAVAILABLE
    director.direct(digest)
    fed = feed(fog=fogs)
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_FAILED, digest))
    assert pb.UPDATE_FAULT_LINK == failed(director).fault
    director.fetch_error = None
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_DONE, digest))
    fed.end()


def test_bundle_that_no_fog_serves_yet_is_no_end_of_the_run(
    feed, director, start_fog, good_path, bundle
):
    """The fog serves version 1.0.0 alone; windows go on there."""
    digest = director.add(good_path)
    director.direct(digest)
    fed = feed(fog=(director.address, start_fog().address))
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_FAILED, digest))
    assert pb.UPDATE_FAULT_LINK == failed(director).fault
    fed.feed(30)
    lines = fed.end()
    assert {bundle.digest} == {line["bundle"] for line in lines}
    assert "fog" == lines[-1]["where"]


def test_bundle_over_the_limit_is_not_fetched(feed, director, two_fogs, good_path):
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest)
    fed = feed(fog=fogs, update_max_bytes=1000)
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_FAILED, digest))
    assert "--update-max-bytes allows 1000" in failed(director).reason
    assert pb.UPDATE_FAULT_STORAGE == failed(director).fault
    fed.end()
    assert 0 == director.fetches


def test_failed_bundle_is_tried_again_at_a_larger_attempt(
    feed, director, start_fog, bad_path, updates_folder
):
    digest = director.add(bad_path("outputs"))
    director.direct(digest, attempt=1)
    fed = feed(fog=(director.address, start_fog().address))
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_FAILED, digest))
    director.direct(digest, attempt=2)
    fed.feed_until(lambda: director.fetches == 2)
    fed.feed_until(lambda: read_state(updates_folder).failed[0].attempt == 2)
    fed.end()


@pytest.mark.parametrize("is_rollback", [False, True])
def test_bundle_older_than_the_configured_one_is_refused(
    feed, director, two_fogs, bundle, rewrite, tmp_path, updates_folder, is_rollback
):
    """1.0.0 is; to go back on purpose is no reason either."""
    path = rewrite(bundle, tmp_path, version="0.9.0")
    fogs = two_fogs(path)
    digest = director.add(path)
    director.direct(digest, is_rollback=is_rollback)
    fed = feed(fog=fogs)
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_FAILED, digest))
    assert "expected chain 1.0.0 or newer" in director.last().reason
    fed.end()
    assert bundle.digest == read_state(updates_folder).current.digest


def test_other_inputs_are_refused_by_name(feed, director, start_fog, write_test_bundle, tmp_path):
    """The source's windows cannot go through it."""
    digest = director.add(write_test_bundle(tmp_path, "slow"))
    director.direct(digest)
    fed = feed(fog=(director.address, start_fog().address))
    fed.feed_until(lambda: director.is_told(pb.UPDATE_STATE_FAILED, digest))
    assert "it has other inputs than the one that runs" in director.last().reason
    fed.end()
