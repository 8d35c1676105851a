"""Lengths of successive maps that go together: of neighbours the shorter divides the longer.

The paper's lengths are powers of two, of which every two go together. Drawn from several families,
as powers of two and divisors of 192, most random lists hold a pair that does not.
"""

from collections.abc import Sequence
from typing import NamedTuple

from optimizer.search.chromosomes import Uniform


class _Ends(NamedTuple):
    """How the list may go on from some place."""

    changes: int
    """The fewest that are needed from here on."""
    values: tuple[tuple[int, int], ...]
    """Each value that needs no more, with the number of ways to go on with it; () if there is
    none."""

    @property
    def ways(self) -> int:
        return sum(ways for _, ways in self.values)


NO_END = _Ends(0, ())
END = _Ends(0, ((0, 1),))
_Known = dict[tuple[int, int], _Ends]


class LengthChain:
    """Draws and repairs the lengths of hidden maps; 0 leaves a map out."""

    def __init__(self, values: Sequence[Sequence[int]]) -> None:
        """Take the lengths that each hidden map may have, each at least 0."""
        self._values = tuple(tuple(lengths) for lengths in values)
        self._known: _Known = {}

    def has_ends(self, first: int) -> bool:
        """Return whether any of the values go together behind a map of length `first`."""
        return bool(self._ends(0, first, None, self._known).values)

    def draw(self, first: int, uniform: Uniform) -> tuple[int, ...] | None:
        """Return lengths that go together, all such lists equally likely; None if there are none.

        Args:
            first: Length of the map before them.
            uniform: Decides.
        """
        return self._walk(first, None, self._known, uniform)

    def repair(
        self, first: int, lengths: Sequence[int], uniform: Uniform
    ) -> tuple[int, ...] | None:
        """Return `lengths` with as few changed as need be, all such repairs equally likely.

        None if the values never go together.

        Args:
            first: Length of the map before them.
            lengths: One value for each hidden map.
            uniform: Decides; not asked where nothing has to change.
        """
        if follow(first, lengths):
            return tuple(lengths)
        return self._walk(first, lengths, {}, uniform)

    def _walk(
        self, first: int, wanted: Sequence[int] | None, known: _Known, uniform: Uniform
    ) -> tuple[int, ...] | None:
        chosen: list[int] = []
        before = first
        for place in range(len(self._values)):
            ends = self._ends(place, before, wanted, known)
            if not ends.values:
                return None
            left = int(uniform() * (1 << 53)) * ends.ways >> 53  # exact, however many ways
            value, ways = ends.values[0]
            for following in ends.values[1:]:
                if left < ways:
                    break
                left -= ways
                value, ways = following
            chosen.append(value)
            before = value or before
        return tuple(chosen)

    def _ends(self, place: int, before: int, wanted: Sequence[int] | None, known: _Known) -> _Ends:
        """Return the values of a map that follow one of length `before` with the fewest changes."""
        if place == len(self._values):
            return END
        ends = known.get((place, before))
        if ends is None:
            options = []
            for value in self._values[place]:
                if not fits(before, value):
                    continue
                after = self._ends(place + 1, value or before, wanted, known)
                if after.values:
                    is_changed = wanted is not None and wanted[place] != value
                    options.append((after.changes + is_changed, value, after.ways))
            least = min((changes for changes, *_ in options), default=0)
            ends = _Ends(least, tuple((v, w) for changes, v, w in options if changes == least))
            known[place, before] = ends
        return ends


def fits(before: int, length: int) -> bool:
    """Return whether a map of `length` may follow one of `before`; 0, no map, always may."""
    return not length or not max(before, length) % min(before, length)


def follow(first: int, lengths: Sequence[int]) -> bool:
    """Return whether all of the lengths go together behind a map of length `first`."""
    before = first
    for length in lengths:
        if not fits(before, length):
            return False
        before = length or before
    return True
