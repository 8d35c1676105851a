"""Drawings: round ticks, values where they belong, the same bytes for the same calls."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.report.svg import Scale, Sheet, log_scale, scale


def test_linear_scale_ends_at_round_values() -> None:
    """And the first and last tick are its ends."""
    found = scale([83.2, 91.7], (0, 100))
    assert (82, 92) == (found.low, found.high)
    assert (82, 84, 86, 88, 90, 92) == found.ticks()
    assert (0.0, 50.0, 100.0) == (found(82), found(87), found(92))


def test_logarithmic_scale_lays_equal_ratios_on_equal_lengths() -> None:
    """Upwards on a page is towards zero."""
    found = Scale(1, 100, 200, 0, is_log=True)
    assert pytest.approx([200, 100, 0]) == [found(1), found(10), found(100)]


@given(
    st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=20),
    st.booleans(),
)
def test_every_value_lies_within_its_scale(values: list[float], is_log: bool) -> None:
    """Whatever is drawn, and there is something to read it by."""
    found = log_scale(values, (10, 110)) if is_log else scale(values, (10, 110))
    assert all(10 - 1e-6 <= found(value) <= 110 + 1e-6 for value in values)
    ticks = found.ticks()
    assert len(ticks) >= 2
    assert all(found.low * (1 - 1e-9) <= tick <= found.high * (1 + 1e-9) for tick in ticks)
    assert all(math.isfinite(found(tick)) for tick in ticks)


def test_text_and_hover_are_escaped() -> None:
    """A class may be named anything."""
    sheet = Sheet(10, 10, 'a "label"')
    sheet.text((1, 2), "<N> & S")
    sheet.dot((1, 2), 3, "red", "R > T\nsecond line")
    root = ET.fromstring(sheet.svg())
    assert "<N> & S" == root[0].text
    assert "R > T\nsecond line" == root[1][0].text
    assert 'a "label"' == root.get("aria-label")


@pytest.mark.parametrize("kind", ["star", "square", "diamond", "circle"])
def test_marks_lie_around_their_place(kind: str) -> None:
    """In the middle of their corners."""
    sheet = Sheet(100, 100, "")
    sheet.mark((50, 40), kind, "blue", "hover")
    (shape,) = ET.fromstring(sheet.svg())
    if kind == "circle":
        assert ("50", "40") == (shape.get("cx"), shape.get("cy"))
        return
    corners = [tuple(map(float, p.split(","))) for p in shape.get("points", "").split()]
    middle = [sum(values) / len(values) for values in zip(*corners, strict=True)]
    assert pytest.approx([50, 40], abs=0.1) == middle
