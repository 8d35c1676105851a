"""What agents say of an update, and what fogs hear, are the same words and numbers."""

import pytest

from edge_agent.update.status import FAULTS, STATES
from fog_server.rollout.measurements import UpdateState
from headtail.fault import BUNDLES_OWN, PASSING, Fault
from headtail.v1 import control_pb2 as pb


@pytest.mark.parametrize(
    ("words", "names", "prefix"),
    [
        (Fault, pb.UpdateFault.keys(), "UPDATE_FAULT_"),
        (UpdateState, pb.UpdateState.keys(), "UPDATE_STATE_"),
    ],
)
def test_words_are_in_the_order_of_their_numbers(words, names, prefix):
    """The fog finds them by it."""
    first, *rest = [name.removeprefix(prefix).lower() for name in names]
    assert ("unspecified", "none") == (first, words.NONE.value)
    assert rest == [word.value for word in words][1:]


def test_agents_have_a_number_for_each():
    """And for no state but the one before all updates there is none."""
    assert dict(zip(Fault, pb.UpdateFault.values(), strict=True)) == FAULTS
    assert sorted(pb.UpdateState.values())[1:] == sorted(STATES.values())


def test_every_fault_is_held_against_the_bundle_or_passes():
    assert set(Fault) == {Fault.NONE} | PASSING | BUNDLES_OWN
    assert not PASSING & BUNDLES_OWN
