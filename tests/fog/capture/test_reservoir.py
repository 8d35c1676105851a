"""The sample: bounds that hold whatever comes, and every window as likely to be in it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fog_server.capture.reservoir import Bounds, Entry, settle

entries = st.lists(
    st.tuples(st.floats(0, 0.999), st.integers(0, 100), st.integers(1, 400), st.integers(0, 40)),
    max_size=60,
).map(lambda rows: [Entry(k, t, s, str(i), number) for number, (k, t, s, i) in enumerate(rows)])


@given(entries, st.integers(1, 30), st.integers(200, 4000), st.integers(1, 80), st.floats(0.01, 1))
def test_bounds_hold_and_the_smallest_keys_are_kept(found, windows, size, age_s, below):
    """Never more than the bounds, nothing old, nothing twice, and no smaller key is left out."""
    bounds = Bounds(windows, size, age_s)
    settled = settle(found, bounds, below, 100.0)
    kept = settled.kept
    assert len(kept) <= windows
    assert sum(e.size_bytes for e in kept) <= size
    assert all(e.time_s > 100 - age_s for e in kept)
    assert len({e.id for e in kept}) == len(kept)
    assert all(e.key < settled.below for e in kept)
    first = {e.id: e for e in reversed(found)}.values()
    chosen = {e.id for e in kept}
    left_out = [e for e in first if e.id not in chosen and e.time_s > 100 - age_s]
    assert all(e.key >= min(below, settled.below) for e in left_out)


@given(entries, st.integers(1, 30))
def test_settled_is_settled(found, windows):
    """A second look changes nothing."""
    bounds = Bounds(windows, 10**6, 1000.0)
    once = settle(found, bounds, 1.0, 100.0)
    again = settle(once.kept, bounds, once.below, 100.0)
    assert (list(once.kept), once.below, 0) == (list(again.kept), again.below, again.expired)


def test_every_window_is_as_likely_to_be_kept():
    """4000 windows in batches of 17, 400 samples: early and late ones are kept equally often."""
    rng = np.random.default_rng(5)
    bounds, runs, count = Bounds(40, 10**9, 1e9), 400, 400
    kept_at = np.zeros(count)
    for _ in range(runs):
        kept, below = [], 1.0
        for start in range(0, count, 17):
            new = [
                Entry(float(rng.random()), 0.0, 1.0, str(i), i)
                for i in range(start, min(count, start + 17))
            ]
            settled = settle([*kept, *new], bounds, below, 1.0)
            kept, below = list(settled.kept), settled.below
        kept_at[[e.what for e in kept]] += 1
    tenths = kept_at.reshape(10, -1).sum(axis=1)
    mean = tenths.mean()
    # A tenth of the windows is kept mean times, give or take sqrt(mean): five times that is rare.
    assert 30 * runs <= kept_at.sum() <= 40 * runs
    assert np.abs(tenths - mean).max() < 5 * np.sqrt(mean)


def test_two_servers_draw_the_sample_that_one_would():
    """Who offered a window, and in which order, does not matter."""
    rng = np.random.default_rng(6)
    found = [Entry(float(k), 0.0, 1.0, str(i), i) for i, k in enumerate(rng.random(300))]
    bounds = Bounds(50, 10**9, 1e9)
    mixed, below = [], 1.0
    for part in (found[::2], found[1::2]):
        for start in range(0, 150, 10):
            settled = settle([*mixed, *part[start : start + 10]], bounds, below, 1.0)
            mixed, below = list(settled.kept), settled.below
    smallest = sorted(found, key=lambda e: e.key)
    assert len(mixed) >= 37
    assert [e.id for e in smallest[: len(mixed)]] == [e.id for e in mixed]


def test_room_that_falls_free_is_taken_again():
    """When old windows have gone, larger keys come in again."""
    bounds = Bounds(10, 10**9, 10.0)
    full = settle([Entry(i / 20, 0.0, 1.0, str(i), i) for i in range(20)], bounds, 1.0, 5.0)
    later = settle(full.kept, bounds, full.below, 50.0)
    assert (7, 0.35, 0) == (len(full.kept), full.below, full.expired)
    assert (0, 0.7, 7) == (len(later.kept), later.below, later.expired)
