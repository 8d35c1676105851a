"""What is believed of the fog's tails, against times that a made-up fog has."""

import pytest

from edge_agent.partition.fog_estimate import FogEstimate

HERE_S = {0: 0.200, 1: 0.100, 2: 0.020}


def hear(fog: FogEstimate, point: int, ratio: float, start_s: float, count: int = 40) -> float:
    """Tell of answers, ten a second; return when the last one came."""
    for i in range(count):
        fog.observe(point, ratio * HERE_S[point], 0.0, start_s + 0.1 * i)
    return start_s + 0.1 * (count - 1)


def test_what_one_tail_shows_holds_for_all() -> None:
    """Load at point 0, gone at point 1: gone at point 0 too."""
    fog = FogEstimate(HERE_S)
    now_s = hear(fog, 0, 0.05, 0.0)
    now_s = hear(fog, 0, 1.0, now_s + 0.1, 10)
    assert fog.tail_s(1) == pytest.approx(HERE_S[1], rel=0.2)
    hear(fog, 1, 0.05, now_s + 0.1, 10)
    assert fog.tail_s(0) == pytest.approx(0.05 * HERE_S[0], rel=0.2)


def test_one_slow_answer_is_no_load() -> None:
    fog = FogEstimate(HERE_S)
    now_s = hear(fog, 0, 0.05, 0.0)
    fog.observe(0, 0.5 * HERE_S[0], 0.0, now_s + 0.1)
    assert fog.tail_s(0) <= 1.5 * 0.05 * HERE_S[0]


def test_one_answer_after_a_silence_ends_a_load() -> None:
    """Nothing was heard of it for five seconds: what it says then counts."""
    fog = FogEstimate(HERE_S)
    now_s = hear(fog, 0, 0.05, 0.0)
    now_s = hear(fog, 0, 1.0, now_s + 0.1, 10)
    fog.observe(0, 0.05 * HERE_S[0], 0.0, now_s + 5.0)
    assert fog.tail_s(0) <= 2 * 0.05 * HERE_S[0]


def test_a_tail_of_its_own_is_learned_and_wears_off() -> None:
    """Point 2 takes half as long again as all of them; in ten minutes that is forgotten."""
    fog = FogEstimate(HERE_S)
    now_s = hear(fog, 0, 0.05, 0.0)
    now_s = hear(fog, 2, 0.075, now_s + 0.1)
    assert fog.tail_s(2) == pytest.approx(0.075 * HERE_S[2], rel=0.1)
    now_s = hear(fog, 0, 0.05, now_s + 0.1)
    assert fog.tail_s(2) > 1.15 * 0.05 * HERE_S[2]
    fog.observe(2, 0.05 * HERE_S[2], 0.0, now_s + 600.0)
    assert fog.tail_s(2) == pytest.approx(0.05 * HERE_S[2], rel=0.05)


def test_a_slower_fog_becomes_usual_and_a_quicker_one_at_once() -> None:
    fog = FogEstimate(HERE_S)
    now_s = hear(fog, 0, 0.05, 0.0, 300)
    now_s = hear(fog, 0, 0.5, now_s + 0.1, 50)
    assert fog.usual_ratio < 0.2
    now_s = hear(fog, 0, 0.5, now_s + 0.1, 3000)
    assert fog.usual_ratio > 0.8
    hear(fog, 0, 0.05, now_s + 0.1, 50)
    assert fog.usual_ratio > 0.95
