"""Who runs the canary: the same agents whoever asks, more of them where the share grows."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog_server.rollout.assignment import runs_canary, volunteer
from fog_server.rollout.rules import Rules
from fog_server.rollout.state import Canary

AGENTS = [f"edge/agent-{i}" for i in range(2000)]


def canary(share: float, digest: str = "d" * 64) -> Canary:
    """Return a canary with a share of the agents."""
    return Canary(digest, 3, 0.0, Rules(share_ratio=share))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_share_of_many_agents_is_as_asked_for(share):
    """Within four standard deviations of a binomial share."""
    count = sum(runs_canary(canary(share), agent) for agent in AGENTS)
    assert abs(count / 2000 - share) <= 4 * (share * (1 - share) / 2000) ** 0.5


@given(st.floats(0, 1), st.floats(0, 1), st.text(max_size=40))
def test_larger_share_keeps_those_of_the_smaller(first, second, agent):
    small, large = sorted((first, second))
    assert not runs_canary(canary(small), agent) or runs_canary(canary(large), agent)


def test_another_bundle_is_tried_on_other_agents():
    one = {a for a in AGENTS if runs_canary(canary(0.1), a)}
    other = {a for a in AGENTS if runs_canary(canary(0.1, "e" * 64), a)}
    assert len(one & other) < len(one) / 2


def test_somebody_is_asked_in_only_where_nobody_is_in():
    """It is the same one whoever asks, in whatever order the agents are known."""
    agents = ["a", "b", "c"]
    chosen = volunteer(canary(1e-9), agents)
    assert chosen == volunteer(canary(1e-9), agents[::-1])
    asked = msgspec.structs.replace(canary(1e-9), volunteers=(chosen,))
    assert runs_canary(asked, chosen)
    assert volunteer(asked, agents) is None
    assert volunteer(canary(1.0), agents) is None
    assert volunteer(canary(0.0), agents) is None
    assert volunteer(canary(1e-9), []) is None
