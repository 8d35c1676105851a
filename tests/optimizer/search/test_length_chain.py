"""Lengths that go together, against enumeration of all lists."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.search.length_chain import LengthChain, fits, follow

LENGTHS = st.sampled_from([0, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 187, 192])
GENES = st.lists(st.lists(LENGTHS, min_size=1, max_size=5, unique=True), min_size=1, max_size=4)
FIRST = st.sampled_from([64, 187, 192])


def valid(first: int, genes: list[list[int]]) -> list[tuple[int, ...]]:
    """Return all lists of which every two neighbours divide one another."""
    lists = []
    for lengths in itertools.product(*genes):
        kept = [n for n in (first, *lengths) if n]
        if all(a % b == 0 or b % a == 0 for a, b in itertools.pairwise(kept)):
            lists.append(lengths)
    return lists


def changes(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many places differ."""
    return sum(a != b for a, b in zip(one, other, strict=True))


@given(FIRST, GENES, st.integers(0, 2**32 - 1), st.data())
def test_what_is_drawn_and_repaired_goes_together(
    first: int, genes: list[list[int]], seed: int, data: st.DataObject
) -> None:
    """Where anything does; a repair changes no more than the nearest list that does."""
    rng = np.random.default_rng(seed)
    chain, lists = LengthChain(genes), valid(first, genes)
    wanted = tuple(data.draw(st.sampled_from(values)) for values in genes)
    drawn, repaired = chain.draw(first, rng.random), chain.repair(first, wanted, rng.random)
    assert bool(lists) == chain.has_ends(first)
    if not lists:
        assert drawn is None
        assert repaired is None
        return
    assert drawn in lists
    assert repaired in lists
    assert min(changes(wanted, other) for other in lists) == changes(wanted, repaired)
    assert (wanted in lists) == follow(first, wanted) == (wanted == repaired)


def evenly(counts: Counter[tuple[int, ...]], kinds: list[tuple[int, ...]], draws: int) -> bool:
    """Return whether each kind, and nothing else, came up as often as chance allows."""
    expected = draws / len(kinds)
    spread = 5 * (expected * (1 - 1 / len(kinds))) ** 0.5
    return set(counts) == set(kinds) and all(abs(n - expected) < spread for n in counts.values())


GENE = [0, 8, 24, 32, 64, 96]


def test_all_lists_are_equally_likely() -> None:
    """Drawn without anything to keep to."""
    chain, rng = LengthChain([GENE] * 3), np.random.default_rng(1)
    counts = Counter(chain.draw(192, rng.random) for _ in range(20_000))
    assert evenly(counts, valid(192, [GENE] * 3), 20_000)


@pytest.mark.parametrize("wanted", [(64, 96, 32), (96, 64, 96), (24, 32, 0)])
def test_all_nearest_repairs_are_equally_likely(wanted: tuple[int, ...]) -> None:
    """Neither neighbour of a conflict is the one to give way, and 0 is one value of many."""
    chain, rng = LengthChain([GENE] * 3), np.random.default_rng(1)
    lists = valid(192, [GENE] * 3)
    least = min(changes(wanted, other) for other in lists)
    nearest = [other for other in lists if changes(wanted, other) == least]
    counts = Counter(chain.repair(192, wanted, rng.random) for _ in range(4000))
    assert evenly(counts, nearest, 4000)
    assert least == 1


def test_length_alone_in_the_way_becomes_any_that_fits_both_neighbours() -> None:
    """Where another change would not help."""
    chain, rng = LengthChain([[96], GENE, [48]]), np.random.default_rng(1)
    counts = Counter(chain.repair(192, (96, 64, 48), rng.random) for _ in range(4000))
    assert evenly(counts, [(96, n, 48) for n in (0, 8, 24, 96)], 4000)


def test_zero_always_fits_and_passes_its_neighbour_on() -> None:
    """A layer that is left out stands between nobody."""
    assert fits(192, 0)
    assert follow(192, [64, 0, 0, 32])
    assert not follow(192, [64, 0, 0, 48])


def test_many_layers_are_drawn_at_once() -> None:
    """The lists are counted, not made: 40 layers have more than 10^24 of them."""
    chain, rng = LengthChain([GENE] * 40), np.random.default_rng(1)
    drawn = chain.draw(192, rng.random)
    assert drawn is not None
    assert follow(192, drawn)
    assert len(drawn) == 40
