"""What is remembered of updates, and what follows what."""

import json

import pytest

from edge_agent.update.state import (
    MAX_FAILED,
    MAX_STARTS,
    STATE,
    Failure,
    Kept,
    begun,
    confirmed,
    failed,
    forgiven,
    loading,
    read_state,
    rolled_back,
    started,
    stopped,
    switched,
    write_state,
)
from headtail.errors import ConfigError
from headtail.fault import Fault

OLD, NEW, THIRD = (Kept(c * 64, "chain", v) for c, v in (("a", "1"), ("b", "2"), ("c", "3")))


def failure(bundle: Kept, attempt: int = 0) -> Failure:
    """Return how a bundle failed."""
    return Failure(bundle.digest, bundle.name, bundle.version, Fault.SELF_TEST, "bad", attempt)


def test_confirmed_update_keeps_the_bundle_before():
    state = confirmed(switched(begun(OLD), NEW, 3))
    assert (NEW, OLD, False, 3) == (state.current, state.previous, state.is_trial, state.attempt)
    assert {OLD.digest, NEW.digest} == state.files


def test_failed_trial_goes_back_and_is_remembered():
    state = rolled_back(switched(begun(OLD), NEW, 0), failure(NEW))
    assert (OLD, None, False) == (state.current, state.previous, state.is_trial)
    assert failure(NEW) == state.failure(NEW.digest)
    assert {OLD.digest} == state.files


def test_withdrawn_trial_is_held_against_nobody():
    assert () == rolled_back(switched(begun(OLD), NEW, 0), None).failed


def test_third_bundle_during_a_trial_goes_back_to_the_one_that_had_passed():
    state = switched(switched(begun(OLD), NEW, 0), THIRD, 0)
    assert (THIRD, OLD) == (state.current, state.previous)


def test_starts_without_a_verdict_wear_a_trial_out():
    """The switch is the first start; an orderly end begins the count anew."""
    state = switched(begun(OLD), NEW, 0)
    for _ in range(MAX_STARTS - 1):
        state = started(state)
        assert not state.is_worn
    assert started(state).is_worn
    assert not started(stopped(state)).is_worn


def test_trying_again_forgets_the_failure():
    state = failed(begun(OLD), failure(NEW))
    assert None is switched(state, NEW, 1).failure(NEW.digest)
    assert None is forgiven(state, NEW.digest).failure(NEW.digest)


def test_loads_are_counted_for_each_bundle():
    twice = loading(loading(begun(OLD), NEW.digest), NEW.digest)
    assert (2, 1) == (twice.loading.count, loading(twice, THIRD.digest).loading.count)


def test_only_the_last_failures_are_remembered():
    state = begun(OLD)
    for i in range(MAX_FAILED + 3):
        state = failed(state, failure(Kept(f"{i:064x}", "chain", "1")))
    assert MAX_FAILED == len(state.failed)
    assert f"{3:064x}" == state.failed[0].digest


def test_state_is_read_as_it_was_written(tmp_path):
    state = failed(loading(switched(begun(OLD), NEW, 2), THIRD.digest), failure(THIRD, 4))
    write_state(tmp_path, state)
    assert state == read_state(tmp_path)
    assert [STATE] == [path.name for path in tmp_path.iterdir()]


def test_no_state_is_none(tmp_path):
    assert None is read_state(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"{}", "expected format version 1 to 1, received inf"),
        (b'{"format_version": 2}', "received 2; upgrade headtail"),
        (b'{"format_version": 1, "current": 3}', "remove it to run the configured bundle"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_state_that_cannot_be_read_is_not_taken_for_none(tmp_path, content, reason):
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        read_state(tmp_path)


def test_unknown_key_is_an_error(tmp_path):
    write_state(tmp_path, begun(OLD))
    state = json.loads((tmp_path / STATE).read_text())
    (tmp_path / STATE).write_text(json.dumps({**state, "more": 1}))
    with pytest.raises(ConfigError, match="unknown field `more`"):
        read_state(tmp_path)
