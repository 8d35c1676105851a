"""Delays between attempts."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.backoff import delays


@given(st.floats(0.01, 1.0), st.floats(1.0, 60.0), st.integers(0, 1000))
def test_each_delay_is_below_a_doubling_capped_limit(first_s, cap_s, seed):
    drawn = list(itertools.islice(delays(first_s, cap_s, random.Random(seed)), 12))
    for i, delay in enumerate(drawn):
        assert 0.0 <= delay <= min(cap_s, first_s * 2**i) * 1.001


def test_delays_fill_their_whole_range():
    """Full jitter: neither end is spared."""
    first = [next(delays(1.0, 5.0, random.Random(seed))) for seed in range(400)]
    counts = [sum(i / 4 <= delay < (i + 1) / 4 for delay in first) for i in range(4)]
    assert all(70 <= count <= 130 for count in counts)


def test_same_seed_gives_the_same_delays():
    first, second = (list(itertools.islice(delays(0.2, 5, random.Random(4)), 9)) for _ in "ab")
    assert first == second


def test_agents_do_not_come_back_together():
    drawn = {next(delays(0.2, 5.0, random.Random(seed))) for seed in range(50)}
    assert 50 == len(drawn)
