"""Tests of the adaptive threshold on tops given one by one."""

from headtail.preprocess.qrs_threshold import QrsThreshold, Top

RATE_HZ = 100.0


def beats_of(tops: list[Top], end: int) -> list[int]:
    """Offer tops and return all beats."""
    threshold = QrsThreshold(RATE_HZ)
    return [at for top in tops for at in threshold.offer(top)] + threshold.flush(end)


def test_highest_of_close_tops_counts() -> None:
    """Two tops within 200 ms are one beat, where the higher one is."""
    tops = [t for i in range(5) for t in (Top(80 * i + 50, 0.7), Top(80 * i + 60, 1.0))]
    assert [60, 140, 220, 300, 380] == beats_of(tops, 420)


def test_small_top_soon_after_a_beat_is_a_t_wave() -> None:
    """Half the height within 320 ms is no beat; at 400 ms it is."""
    early = [t for i in range(5) for t in (Top(100 * i + 50, 1.0), Top(100 * i + 80, 0.55))]
    late = [t for i in range(5) for t in (Top(100 * i + 50, 1.0), Top(100 * i + 90, 0.55))]
    assert [50, 150, 250, 350, 450] == beats_of(early, 520)
    assert [top.at for top in late] == beats_of(late, 520)


def test_level_falls_until_weaker_beats_are_found() -> None:
    """A lead that loses nine tenths of its amplitude is followed within six beats."""
    noise = [Top(80 * i + 90, 0.01) for i in range(40)]
    strong = [Top(80 * i + 50, 1.0) for i in range(10)]
    weak = [Top(80 * i + 850, 0.1) for i in range(30)]
    found = beats_of(sorted(strong + weak + noise), 3300)
    assert {top.at for top in weak[6:]} <= set(found)


def test_nothing_is_reported_before_the_levels_are_known() -> None:
    """For two seconds tops only teach the levels; then they are judged by them."""
    threshold = QrsThreshold(RATE_HZ)
    assert [] == threshold.offer(Top(50, 1.0)) + threshold.offer(Top(130, 1.0))
    assert [50, 130] == threshold.advance(200)


def test_signal_without_tops_gives_no_beats() -> None:
    assert [] == beats_of([], 1000)
