"""What speaks against a bundle, by hand."""

import numpy as np
import pytest

from edge_agent.plan import choose_plan
from edge_agent.update.referee import FLOOR_S, Limits, Referee, allowed_head_s
from headtail.bundle import read_bundle

GOOD = {"y": np.zeros((1, 3), np.float32)}


def referee(windows: int = 20, head_s: float = 0.010) -> Referee:
    """Return one that has seen nothing."""
    return Referee(Limits(windows, head_s))


def judge(who: Referee, windows: int = 1, head_s: float = 0.001, failed: bool = False):
    """Show it good outputs; return what it says."""
    return who.judge(GOOD, windows, head_s, is_failed=failed)


def test_enough_good_windows_satisfy():
    who = referee(3)
    assert [None, False] == [judge(who, 2), who.has_enough()]
    assert [None, True] == [judge(who, 1), who.has_enough()]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_enough(value):
    outputs = {"y": np.array([[0, value, 1]], np.float32), "n": np.array([1])}
    reason = referee().judge(outputs, 1, 0.001, is_failed=False)
    assert "output 'y': 1 of 3 values are NaN or infinite" == reason


def test_heads_count_by_their_median_once_there_are_five():
    who = referee()
    assert [None] * 4 == [judge(who, head_s=0.020) for _ in range(4)]
    assert "the head takes 20 ms a window, 10 ms are allowed" == judge(who, head_s=0.020)


def test_few_slow_heads_say_nothing():
    who = referee()
    assert {None} == {judge(who, head_s=s) for s in (0.5, 0.001, 0.5, 0.001, 0.001, 0.001)}


def test_head_of_a_message_is_shared_by_its_windows():
    assert None is judge(referee(), windows=8, head_s=0.079)
    assert "10.1 ms" in judge(referee(), windows=8, head_s=0.0808)


def test_fog_may_fail_two_windows_or_a_tenth():
    who = referee(100)
    assert [None, None] == [judge(who, failed=True) for _ in range(2)]
    assert "the fog failed 3 of the first 3 windows" == judge(who, failed=True)
    late = referee(100)
    assert None is judge(late, windows=30)
    assert None is judge(late, windows=3, failed=True)
    assert "4 of the first 34" in judge(late, failed=True)


def test_allowed_time_grows_with_the_operations(priced_path, trust):
    """1000 of 1200 operations before, 1200 after; hand calculation."""
    manifest = read_bundle(priced_path, trust).manifest
    one, two = choose_plan(manifest, "1", "float32"), choose_plan(manifest, "2", "float32")
    assert pytest.approx(3 * 0.010 * 1.2) == allowed_head_s(one, 0.010, two, "", 3.0)
    assert pytest.approx(3 * 0.010) == allowed_head_s(two, 0.010, one, "", 3.0)
    assert FLOOR_S == allowed_head_s(one, 0.0, two, "", 3.0)
