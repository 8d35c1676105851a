"""The order of those who wait: agents share the windows that run, whatever each asks for."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Generic, Protocol, TypeVar

MAX_AGENTS = 4096  # accounts kept; without certificates anybody can make names up


class Waiting(Protocol):
    """Something that waits for its turn."""

    is_late: bool
    """Whether all of its level that are not go first."""

    @property
    def agent(self) -> str:
        """Whose it is."""
        ...

    @property
    def windows(self) -> int:
        """What its turn costs, at least 1."""
        ...

    @property
    def credit(self) -> int:
        """On how many windows its agent may catch up if it got less than its share."""
        ...

    @property
    def level(self) -> int:
        """Its priority; smaller goes first, whatever the agents have had."""
        ...


Item = TypeVar("Item", bound=Waiting)
Rank = tuple[int, bool, int]
"""A place in the order: level, whether it is late, tag."""


class FairQueue(Generic[Item]):
    """A queue in the order of tags: the windows an agent will have had when its request has run.

    Self-clocked fair queueing: a request's tag is its windows on top of its agent's last tag, or of
    the clock where that is later, and the clock is the tag served last. So eight windows of one
    agent go after eight single windows of every other, and an agent nobody knew waits its turn as
    well. Beside that, an agent that was turned away while others ran falls behind the clock, and
    may catch up a little; without that, who gets into a full queue would be luck. Of several that
    run as one batch, the first sets the clock: the others are ahead of their turn, and paid for it.

    Source: Golestani, A self-clocked fair queueing scheme for broadband applications, 1994,
    doi:10.1109/INFCOM.1994.337677; the credit and the levels are ours.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._items: list[tuple[Rank, int, Item]] = []  # by rank, then by arrival
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

    def rank(self, item: Item) -> Rank:
        """Return the place that a request would have; smaller is sooner."""
        return item.level, item.is_late, self._tag(item)

    def ahead(self, rank: Rank) -> int:
        """Return how many wait that would be served before a new request of this rank."""
        return bisect_right(self._items, rank, key=_rank)

    def push(self, item: Item) -> None:
        """Add a request."""
        rank = self.rank(item)
        insort(self._items, (rank, next(self._arrivals), item), key=_place)
        self._tags[item.agent] = rank[2]

    def pop(self) -> Item:
        """Take out the request whose turn it is; there must be one."""
        rank, _, item = self._items.pop(0)
        self._clock = max(self._clock, rank[2])
        return item

    def take(self, items: Sequence[Item]) -> None:
        """Take out requests that run as one batch; the first is the one whose turn it is."""
        taken = set(map(id, items))
        first = next(rank for rank, _, item in self._items if item is items[0])
        self._clock = max(self._clock, first[2])
        self._items = [entry for entry in self._items if id(entry[2]) not in taken]

    def remove(self, item: Item) -> None:
        """Take out a request that will not run; it must be there, and costs its agent nothing."""
        self._remove(self._index(item))

    def put_off(self, item: Item) -> None:
        """Let all of a request's level that are not late go first; it must be there."""
        (level, _, tag), arrival, _ = self._items.pop(self._index(item))
        item.is_late = True
        insort(self._items, ((level, True, tag), arrival, item), key=_place)

    def take_last(self, rank: Rank, among: Callable[[Item], bool] | None = None) -> Item | None:
        """Take out the request that would run last, if one of this rank would run before it.

        Args:
            rank: Of the newcomer.
            among: Tells which requests count; all where it is not given.
        """
        first = bisect_right(self._items, rank, key=_rank)
        for index in range(len(self._items) - 1, first - 1, -1):
            if among is None or among(self._items[index][2]):
                return self._remove(index)
        return None

    def _tag(self, item: Item) -> int:
        windows = item.windows
        return max(self._remember(item.agent), self._clock - item.credit) + windows

    def _index(self, item: Item) -> int:
        return next(i for i, entry in enumerate(self._items) if entry[2] is item)

    def _remove(self, index: int) -> Item:
        """Take out one request; those of its agent that came later move up by what it cost."""
        _, arrival, item = self._items.pop(index)
        if item.agent in self._tags:
            self._tags[item.agent] -= item.windows
        behind = [e for e in self._items if e[2].agent == item.agent and e[1] > arrival]
        for entry in behind:
            (level, is_late, tag), since, waiting = entry
            del self._items[bisect_left(self._items, entry[:2], key=_place)]
            moved = (level, is_late, tag - item.windows)
            insort(self._items, (moved, since, waiting), key=_place)
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


def _rank(entry: tuple[Rank, int, object]) -> Rank:
    return entry[0]


def _place(entry: tuple[Rank, int, object]) -> tuple[Rank, int]:
    return entry[:2]
