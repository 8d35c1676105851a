"""Channel ids and which of them go together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Channels:
    """Every channel that some layer makes, as an id; ties and freezes among them.

    Two ids that are tied live or die together (union-find). A frozen id, and all that is tied to
    it, stays.
    """

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._owners: list[str] = []
        self._reasons: dict[int, str] = {}

    def fresh(self, owner: str, count: int) -> Ids:
        """Return ids for `count` new channels that the layer `owner` makes."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        self._owners.extend([owner] * count)
        return np.arange(first, first + count, dtype=np.int64)

    def tie(self, left: Ids, right: Ids) -> None:
        """Tie two rows of ids, element by element.

        The two have one length; a broadcast is the caller's to make.
        """
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            low, high = sorted((self._root(a), self._root(b)))
            self._parents[high] = low

    def tie_all(self, ids: Ids) -> None:
        """Tie every id to the first."""
        self.tie(np.broadcast_to(ids[:1], ids[1:].shape), ids[1:])

    def freeze(self, ids: Ids, reason: str) -> None:
        """Keep these channels, whatever happens; the first reason of an id is the one told."""
        for i in ids.tolist():
            self._reasons.setdefault(i, reason)

    def roots(self) -> Ids:
        """Return for every id the smallest that it is tied to, shape (ids,)."""
        return np.array([self._root(i) for i in range(len(self._parents))], np.int64)

    @property
    def owners(self) -> Sequence[str]:
        """The layer that makes each id."""
        return self._owners

    @property
    def reasons(self) -> dict[int, str]:
        """Why the frozen ids are; ids tied to them are not among them."""
        return dict(self._reasons)

    def _root(self, index: int) -> int:
        parents = self._parents
        while parents[index] != index:
            parents[index] = parents[parents[index]]  # path halving
            index = parents[index]
        return index
