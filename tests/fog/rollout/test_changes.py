"""The states of bundles: what may follow what, and what always holds whatever is asked for."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fog_server.rollout import changes
from fog_server.rollout.rules import Rules
from fog_server.rollout.state import MAX_EVENTS, Change, Entry, Model, State
from headtail.errors import ModelNotFound, WrongState

NOW = Change(10.0, "ann", "because")
DIGESTS = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


def entry(digest: str, version: str = "") -> Entry:
    """Return a bundle as it is published."""
    version = version or f"1.{DIGESTS.index(digest)}"
    return Entry(version, digest, 100, f"{digest}.bundle", State.CANDIDATE, 0, 1.0, "ann", "")


def published(*digests: str) -> Model:
    """Return a model with these candidates."""
    model = Model("ecg")
    for digest in digests:
        model = changes.publish(model, entry(digest), NOW)
    return model


def states(model: Model) -> dict[str, State]:
    """Return the states by digest."""
    return {e.digest: e.state for e in model.bundles}


A, B, C, D = DIGESTS


def test_published_bundle_is_a_candidate_and_nobody_runs_it():
    model = published(A)
    assert {A: State.CANDIDATE} == states(model)
    assert model.active is None
    assert 0 == model.bundles[0].attempt


def test_publishing_twice_changes_nothing():
    model = published(A)
    assert changes.publish(model, entry(A), NOW) == model


def test_canary_is_promoted_and_the_active_one_is_kept_to_go_back_to():
    model = changes.promote(published(A, B), A, NOW)
    model = changes.start_canary(model, B, Rules(), NOW)
    assert {A: State.ACTIVE, B: State.CANARY} == states(model)
    model = changes.promote(model, B, NOW)
    assert {A: State.RETIRED, B: State.ACTIVE} == states(model)
    assert A == model.previous
    model = changes.roll_back(model, NOW)
    assert {A: State.ACTIVE, B: State.RETIRED} == states(model)
    assert 6 == model.generation


def test_rolled_back_canary_leaves_the_active_one():
    model = changes.promote(published(A, B), A, NOW)
    model = changes.roll_back(changes.start_canary(model, B, Rules(), NOW), NOW)
    assert {A: State.ACTIVE, B: State.RETIRED} == states(model)
    assert model.canary is None


def test_retired_bundle_may_be_tried_again_as_another_attempt():
    model = changes.promote(published(A, B), A, NOW)
    model = changes.roll_back(changes.start_canary(model, B, Rules(), NOW), NOW)
    before = model.entry(B).attempt
    model = changes.start_canary(model, B, Rules(), NOW)
    assert before < model.entry(B).attempt == model.canary.attempt == model.generation


def test_other_bundle_of_the_same_version_is_refused():
    with pytest.raises(WrongState, match=r"1\.0: is here with digest aaaaaaaaaaaa, candidate"):
        changes.publish(published(A), entry(B, "1.0"), NOW)


def test_removed_bundle_may_be_published_again():
    model = changes.retire(changes.retire(published(A), A, NOW), A, NOW)
    assert not model.entry(A).is_stored
    with pytest.raises(WrongState, match="publish it again"):
        changes.promote(model, A, NOW)
    model = changes.publish(model, entry(A), NOW)
    assert {A: State.CANDIDATE} == states(model)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: changes.start_canary(m, A, Rules(), NOW), "retired bundle, it is active"),
        (lambda m: changes.promote(m, A, NOW), "canary or a candidate, it is active"),
        (lambda m: changes.retire(m, A, NOW), "expected a .* bundle, it is active"),
        (lambda m: changes.remove(m, B, NOW), "it is candidate"),
        (lambda m: changes.set_share(m, 0.5, NOW), "there is no canary"),
        (lambda m: changes.roll_back(m, NOW), "no bundle that was active before"),
        (lambda m: changes.start_canary(published(B), B, Rules(), NOW), "no bundle is active"),
    ],
)
def test_what_does_not_follow_is_refused(change, reason):
    with pytest.raises(WrongState, match=reason):
        change(changes.promote(published(A, B), A, NOW))


def test_second_canary_is_refused():
    model = changes.promote(published(A, B, C), A, NOW)
    model = changes.start_canary(model, B, Rules(), NOW)
    for change in (lambda: changes.start_canary(model, C, Rules(), NOW),
                   lambda: changes.promote(model, C, NOW)):  # fmt: skip
        with pytest.raises(WrongState, match=r"1\.1 is the canary"):
            change()


ACTIONS = {
    "publish": lambda model, digest: changes.publish(model, entry(digest), NOW),
    "canary": lambda model, digest: changes.start_canary(model, digest, Rules(), NOW),
    "promote": lambda model, digest: changes.promote(model, digest, NOW),
    "retire": lambda model, digest: changes.retire(model, digest, NOW),
    "remove": lambda model, digest: changes.remove(model, digest, NOW),
    "share": lambda model, _: changes.set_share(model, 0.5, NOW),
    "roll_back": lambda model, _: changes.roll_back(model, NOW),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.sampled_from(DIGESTS)), max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_for_the_rules_hold(asked):
    """One active at most, and for ever once there was one; a canary only beside it; files there."""
    model = Model("ecg")
    for action, digest in asked:
        before = model
        try:
            model = ACTIONS[action](model, digest)
        except (WrongState, ModelNotFound):
            assert model == before
            continue
        found = [e.state for e in model.bundles]
        assert found.count(State.ACTIVE) <= 1
        assert (before.active is None) or (model.active is not None)
        assert found.count(State.CANARY) == (model.canary is not None)
        assert model.canary is None or model.active is not None
        assert all(e.is_stored for e in model.bundles if e.state is not State.RETIRED)
        assert model.previous is None or model.entry(model.previous).state is State.RETIRED
        stored = [e.version for e in model.bundles if e.is_stored]
        assert len(stored) == len(set(stored))
        assert model.generation - before.generation == (model != before)
        assert len(model.events) == min(model.generation, MAX_EVENTS)
        assert model == msgspec.json.decode(msgspec.json.encode(model), type=Model)
