"""The fair queue: agents take turns, each worth one window."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog_server.fairness import FairQueue


@dataclass(frozen=True, eq=False)
class Item:
    """One request."""

    agent: str
    windows: int = 1


def fill(*requests: tuple[str, int]) -> FairQueue[Item]:
    """Return a queue of (agent, windows)."""
    queue: FairQueue[Item] = FairQueue()
    for agent, windows in requests:
        queue.push(Item(agent, windows))
    return queue


def drain(queue: FairQueue[Item]) -> list[Item]:
    """Take out everything."""
    return [queue.pop() for _ in range(len(queue))]


def test_large_message_waits_as_many_rounds_as_it_has_windows() -> None:
    """Three windows of one agent count like three requests of the others."""
    queue = fill(("a", 3), *[("b", 1)] * 4, *[("c", 1)] * 4)
    assert "bcbcabcbc" == "".join(i.agent for i in drain(queue))


def test_removed_request_leaves_the_turns_of_others_alone() -> None:
    """An agent with nothing left waiting is forgotten."""
    queue = fill(("a", 1), ("b", 1))
    gone = Item("c")
    queue.push(gone)
    queue.remove(gone)
    assert 0 == queue.waiting("c")
    assert "ab" == "".join(i.agent for i in drain(queue))


def test_newest_request_of_the_greediest_is_found() -> None:
    """It is the one pushed out of a full queue."""
    queue = fill(("a", 1), ("b", 1), ("b", 2))
    assert "b" == queue.greediest()
    assert 2 == queue.take_newest("b").windows


requests = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 9)), max_size=40)


@given(requests)
def test_nothing_is_lost_and_each_agent_keeps_its_order(wanted: list[tuple[str, int]]) -> None:
    """What goes in comes out once."""
    served = drain(fill(*wanted))
    for agent in "abcd":
        expected = [w for a, w in wanted if a == agent]
        assert expected == [i.windows for i in served if i.agent == agent]


@given(requests)
def test_windows_served_differ_by_one_message_at_most(wanted: list[tuple[str, int]]) -> None:
    """While two agents both wait, neither gets ahead of the other by more than a message."""
    queue = fill(*wanted)
    got = dict.fromkeys("abcd", 0)
    largest = max((w for _, w in wanted), default=0)
    while queue:
        item = queue.pop()
        got[item.agent] += item.windows
        backlogged = [got[a] for a in got if queue.waiting(a)]
        if len(backlogged) > 1:
            assert max(backlogged) - min(backlogged) <= largest


@given(requests, st.sampled_from("abcd"), st.integers(1, 9))
def test_requests_ahead_are_those_served_before(
    wanted: list[tuple[str, int]], agent: str, windows: int
) -> None:
    """The count is exact where every message is one window, and never more than all."""
    queue = fill(*wanted)
    ahead = queue.ahead(agent, windows)
    assert 0 <= ahead <= len(queue)
    singles = fill(*[(a, 1) for a, _ in wanted])
    expected = singles.ahead(agent, 1)
    newcomer = Item(agent)
    singles.push(newcomer)
    position = drain(singles).index(newcomer)
    assert position == pytest.approx(expected, abs=3)  # agents share a round


@given(st.lists(st.sampled_from(["pop", "push", "drop"]), max_size=60), st.randoms())
def test_length_is_what_is_in_it(steps: list[str], rng) -> None:
    """Whatever is done to it."""
    queue: FairQueue[Item] = FairQueue()
    inside: list[Item] = []
    for step in steps:
        if step == "push" or not inside:
            inside.append(Item(rng.choice("abc"), rng.randint(1, 5)))
            queue.push(inside[-1])
        elif step == "drop":
            queue.remove(inside.pop(rng.randrange(len(inside))))
        else:
            inside.remove(queue.pop())
        assert len(inside) == len(queue)
    assert {id(i) for i in inside} == {id(i) for i in queue}
