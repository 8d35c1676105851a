"""The order of those who wait: turns go round the agents, and each turn is worth one window."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """Something that waits for its turn."""

    @property
    def agent(self) -> str:
        """Whose it is."""
        ...

    @property
    def windows(self) -> int:
        """What its turn costs, at least 1."""
        ...


Item = TypeVar("Item", bound=Waiting)


@dataclass(slots=True)
class _Lane(Generic[Item]):
    """What one agent has waiting, oldest first, and the windows it has saved up turns for."""

    items: deque[Item] = field(default_factory=deque)
    credit: int = 0


class FairQueue(Generic[Item]):
    """A queue in which every agent gets the same number of windows, whatever it asks for.

    Deficit round robin with a quantum of one window: each round gives each waiting agent one
    window of credit, and its oldest request is served once the credit covers it. So a message of
    eight windows waits eight rounds, and ten requests of one agent do not pass before the first of
    another. Rounds are counted, not walked. An agent with nothing waiting keeps no credit.

    Source: Shreedhar and Varghese, Efficient fair queuing using deficit round-robin, 1996,
    doi:10.1109/90.502236.
    """

    def __init__(self) -> None:
        """Start empty."""
        # In the order of the turns to come; the agent served last is the last.
        self._lanes: dict[str, _Lane[Item]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        for lane in self._lanes.values():
            yield from lane.items

    def waiting(self, agent: str) -> int:
        """Return how many requests of an agent wait."""
        lane = self._lanes.get(agent)
        return len(lane.items) if lane else 0

    def ahead(self, agent: str, windows: int) -> int:
        """Return how many requests that wait would pass before a new one of an agent."""
        lane = self._lanes.get(agent)
        own = (sum(i.windows for i in lane.items), lane.credit) if lane else (0, 0)
        rounds = max(1, own[0] + windows - own[1])
        return self.waiting(agent) + sum(
            min(len(other.items), (rounds + other.credit) // other.items[0].windows)
            for name, other in self._lanes.items()
            if name != agent
        )

    def push(self, item: Item) -> None:
        """Add a request behind its agent's others."""
        self._lanes.setdefault(item.agent, _Lane()).items.append(item)
        self._length += 1

    def pop(self) -> Item:
        """Take out the request whose turn it is; there must be one."""
        agent, rounds = self._next()
        for other in list(self._lanes):
            if other == agent:
                break
            # Those before it in the order have had this round's window already.
            lane = self._lanes[other] = self._lanes.pop(other)
            lane.credit += 1
        if rounds > 1:
            for lane in self._lanes.values():
                lane.credit += rounds - 1
        served = self._lanes.pop(agent)
        item = served.items.popleft()
        self._length -= 1
        if served.items:
            served.credit = 0
            self._lanes[agent] = served
        return item

    def remove(self, item: Item) -> None:
        """Take out a request that waits no longer; it must be there."""
        lane = self._lanes[item.agent]
        lane.items.remove(item)
        self._length -= 1
        if not lane.items:
            del self._lanes[item.agent]

    def greediest(self) -> str:
        """Return the agent with the most requests waiting; there must be one."""
        return max(self._lanes, key=lambda agent: len(self._lanes[agent].items))

    def take_newest(self, agent: str) -> Item:
        """Take out the request that an agent added last; it must have one."""
        item = self._lanes[agent].items[-1]
        self.remove(item)
        return item

    def _next(self) -> tuple[str, int]:
        """Return whose turn is next, and after how many rounds."""
        best, least = "", 0
        for agent, lane in self._lanes.items():
            rounds = lane.items[0].windows - lane.credit
            if rounds <= 1:
                return agent, 1
            if not best or rounds < least:
                best, least = agent, rounds
        return best, least
