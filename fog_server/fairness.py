"""The order of those who wait: agents share the windows that run, whatever each asks for."""

from bisect import bisect_right, insort
from collections.abc import Iterator
from itertools import count
from typing import Generic, Protocol, TypeVar

MAX_AGENTS = 4096  # accounts kept; without certificates anybody can make names up
# How many messages' worth of windows an agent that got less than its share may catch up on.
_CREDIT = 2


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


class FairQueue(Generic[Item]):
    """A queue in the order of tags: the windows an agent will have had when its request has run.

    Self-clocked fair queueing: a request's tag is its windows on top of its agent's last tag, or of
    the clock where that is later, and the clock is the tag served last. So eight windows of one
    agent go after eight single windows of every other, and an agent nobody knew waits its turn as
    well. Beside that, an agent that was turned away while others ran falls behind the clock, and
    may catch up a little; without that, who gets into a full queue would be luck.

    Source: Golestani, A self-clocked fair queueing scheme for broadband applications, 1994,
    doi:10.1109/INFCOM.1994.337677; the credit is ours.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._items: list[tuple[int, int, Item]] = []  # by tag, then by arrival
        self._arrivals = count()
        # Agent -> its last tag; the one that came longest ago is the first.
        self._tags: dict[str, int] = {}
        self._clock = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return (item for _, _, item in self._items)

    @property
    def agents(self) -> int:
        """Agents remembered now."""
        return len(self._tags)

    def tag(self, agent: str, windows: int) -> int:
        """Return the tag that a request would have; smaller is sooner."""
        return max(self._remember(agent), self._clock - _CREDIT * windows) + windows

    def ahead(self, tag: int) -> int:
        """Return how many wait that would be served before a new request with this tag."""
        return bisect_right(self._items, tag, key=_tag)

    def push(self, item: Item) -> None:
        """Add a request."""
        tag = self.tag(item.agent, item.windows)
        insort(self._items, (tag, next(self._arrivals), item), key=lambda entry: entry[:2])
        self._tags[item.agent] = tag

    def pop(self) -> Item:
        """Take out the request whose turn it is; there must be one."""
        tag, _, item = self._items.pop(0)
        self._clock = max(self._clock, tag)
        return item

    def remove(self, item: Item) -> None:
        """Take out a request that will not run; it must be there, and costs its agent nothing."""
        index = next(i for i, entry in enumerate(self._items) if entry[2] is item)
        self._remove(index)

    def take_last(self, tag: int) -> Item | None:
        """Take out the request that would run last, if one with this tag would run before it."""
        if not self._items or self._items[-1][0] <= tag:
            return None
        return self._remove(-1)

    def _remove(self, index: int) -> Item:
        item = self._items.pop(index)[2]
        if item.agent in self._tags:
            self._tags[item.agent] -= item.windows
        return item

    def _remember(self, agent: str) -> int:
        """Return an agent's last tag; one nobody knows begins at the clock."""
        tag = self._tags.pop(agent, None)
        if tag is None:
            tag = self._clock
            if len(self._tags) >= MAX_AGENTS:
                del self._tags[next(iter(self._tags))]
        self._tags[agent] = tag
        return tag


def _tag(entry: tuple[int, int, object]) -> int:
    return entry[0]
