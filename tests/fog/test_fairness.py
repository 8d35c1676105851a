"""The fair queue: agents share the windows that run."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from fog_server.fairness import MAX_AGENTS, FairQueue


@dataclass(eq=False)
class Item:
    """One request."""

    agent: str
    windows: int = 1
    level: int = 1
    is_late: bool = False

    @property
    def credit(self) -> int:
        """Return the windows of two messages."""
        return 2 * self.windows


def fill(*requests: tuple[str, int]) -> FairQueue[Item]:
    """Return a queue of (agent, windows)."""
    queue: FairQueue[Item] = FairQueue()
    for agent, windows in requests:
        queue.push(Item(agent, windows))
    return queue


def rank(queue: FairQueue[Item], agent: str) -> tuple[int, bool, int]:
    """Return the place that one window of an agent would have."""
    return queue.rank(Item(agent))


def drain(queue: FairQueue[Item]) -> list[Item]:
    """Take out everything."""
    return [queue.pop() for _ in range(len(queue))]


def test_large_message_waits_for_as_many_single_windows_of_each_other_agent() -> None:
    """Three windows of one agent count like three requests of the others."""
    queue = fill(("a", 3), *[("b", 1)] * 4, *[("c", 1)] * 4)
    assert "bcbcabcbc" == "".join(i.agent for i in drain(queue))


def test_removed_request_costs_its_agent_nothing() -> None:
    """Its next one stands where the removed one would have."""
    queue = fill(("a", 1), ("b", 1))
    gone = Item("b")
    queue.push(gone)
    expected = rank(queue, "b")
    queue.remove(gone)
    assert expected[2] - 1 == rank(queue, "b")[2]
    assert "ab" == "".join(i.agent for i in drain(queue))


def test_what_would_run_last_makes_room_for_what_would_run_before_it() -> None:
    """Only then: among equals whoever came first stays."""
    queue = fill(("a", 1), ("b", 1), ("b", 1))
    assert queue.take_last(rank(queue, "b")) is None
    last = queue.take_last(rank(queue, "c"))
    assert (last.agent, 2) == ("b", len(queue))
    assert queue.take_last(rank(queue, "c")) is None


def test_agent_turned_away_while_others_run_comes_first_next_time() -> None:
    """But it catches up on two messages at most."""
    queue = fill()
    rank(queue, "unlucky")
    for _ in range(50):
        queue.push(Item("a"))
        queue.pop()
    for agent in ["a", "a", *["unlucky"] * 5]:
        queue.push(Item(agent))
    assert ["unlucky"] * 2 == [i.agent for i in drain(queue)][:2]
    assert rank(queue, "unlucky")[2] > 50


def test_made_up_names_starve_nobody() -> None:
    """A name nobody knows begins behind those who wait, however many there are."""
    queue = fill()
    turns = []
    for number in range(1000):
        if not any(i.agent == "honest" for i in queue):
            queue.push(Item("honest"))
        queue.push(Item(f"x{number}"))
        queue.push(Item(f"y{number}"))
        turns.append(queue.pop().agent)
        if len(queue) > 20:
            queue.take_last((0, False, 0))
    assert turns.count("honest") >= 1000 / 20 / 2


def test_made_up_names_do_not_fill_the_memory() -> None:
    """The agent that came longest ago is forgotten."""
    queue = fill(*((f"agent-{n}", 1) for n in range(MAX_AGENTS + 10)))
    assert queue.agents == MAX_AGENTS
    assert len(drain(queue)) == MAX_AGENTS + 10


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
        backlogged = [got[a] for a in {i.agent for i in queue}]
        if len(backlogged) > 1:
            assert max(backlogged) - min(backlogged) <= largest


@given(requests, st.sampled_from("abcd"), st.integers(1, 9))
def test_requests_ahead_are_those_served_before(
    wanted: list[tuple[str, int]], agent: str, windows: int
) -> None:
    """The count is exact as long as nobody else comes."""
    queue = fill(*wanted)
    expected = queue.ahead(queue.rank(Item(agent, windows)))
    newcomer = Item(agent, windows)
    queue.push(newcomer)
    assert expected == drain(queue).index(newcomer)


@given(st.lists(st.sampled_from(["pop", "push", "drop", "last"]), max_size=60), st.randoms())
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
        elif step == "last":
            inside.remove(queue.take_last((0, False, -100)))
        else:
            inside.remove(queue.pop())
        assert len(inside) == len(queue)
    assert {id(i) for i in inside} == {id(i) for i in queue}


def test_levels_go_before_fairness_and_late_ones_after_their_level() -> None:
    """Level 1 first, whatever its agent has had; put off within a level, not behind the next."""
    queue = fill(("a", 1), ("b", 1))
    urgent, low = Item("a", level=0), Item("c", level=2)
    queue.push(low)
    queue.push(urgent)
    first = next(item for item in queue if item.level == 1)
    queue.put_off(first)
    served = drain(queue)
    assert [urgent, first, low] == [served[0], served[2], served[3]]


@given(requests, st.lists(st.integers(0, 39), max_size=20))
def test_agent_keeps_its_order_when_some_of_its_requests_leave(
    wanted: list[tuple[str, int]], leaving: list[int]
) -> None:
    """Those behind move up, and what comes afterwards does not pass them."""
    queue: FairQueue[Item] = FairQueue()
    items = [Item(agent, windows) for agent, windows in wanted]
    for item in items:
        queue.push(item)
    for index in sorted({i for i in leaving if i < len(items)}, reverse=True):
        queue.remove(items.pop(index))
    items += [Item(agent) for agent in "abcd"]
    for item in items[-4:]:
        queue.push(item)
    served = drain(queue)
    for agent in "abcd":
        expected = [id(i) for i in items if i.agent == agent]
        assert expected == [id(i) for i in served if i.agent == agent]


def test_batch_sets_the_clock_by_its_first() -> None:
    """Who joined a batch early paid for it: a newcomer goes before their next."""
    queue = fill(*[("a", 1)] * 4)
    queue.take(list(queue))
    for agent in ("a", "new"):
        queue.push(Item(agent))
    assert "new" == queue.pop().agent
