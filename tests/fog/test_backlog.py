"""How long windows lay unread, told from two clocks that know nothing of each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fog_server.backlog import Backlog

seconds = st.floats(0, 1e6)


@given(st.floats(-1e6, 1e6), st.floats(0, 0.5))
def test_offset_of_the_clocks_and_the_way_do_not_count(offset_s: float, way_s: float) -> None:
    """A window that came as fast as any has not waited."""
    backlog = Backlog()
    assert backlog.waited_s(10.0 + offset_s, 10.0 + way_s) == 0.0
    assert backlog.waited_s(10.1 + offset_s, 10.4 + way_s) == pytest.approx(0.3, abs=1e-6)
    assert backlog.waited_s(10.5 + offset_s, 10.5 + way_s) == pytest.approx(0.0, abs=1e-6)


def test_standing_backlog_is_seen_from_the_first_fast_window_on() -> None:
    """Each window of a stream read too slowly has waited longer than the one before."""
    backlog = Backlog()
    waited = [backlog.waited_s(0.01 * i, 0.02 * i) for i in range(5)]
    assert waited == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04])


def test_clocks_that_drift_apart_do_not_make_windows_late() -> None:
    """What is a minute or two old is forgotten: 100 ppm over an hour would be 360 ms."""
    backlog = Backlog()
    waited = [backlog.waited_s(s * (1 - 100e-6), s) for s in range(3600)]
    assert max(waited) < 0.0125


@given(st.lists(st.tuples(seconds, seconds), min_size=1, max_size=50))
def test_never_negative(times: list[tuple[float, float]]) -> None:
    """Whatever an agent claims."""
    backlog = Backlog()
    now_s = 0.0
    for sent_s, step_s in times:
        now_s += step_s
        assert backlog.waited_s(sent_s, now_s) >= 0.0
