"""Printed rows beside measured ones: marked, in joules, and for the right data alone."""

from typing import Any

import pytest
from compare_case import make_recipe

from optimizer.compare.printed import application, printed_rows
from optimizer.recipe.recipe import CompareConfig


@pytest.mark.parametrize(("asked", "names"), [("arrhythmia", "AC"), ("seizure", "SD")])
def test_printed_rows_are_marked_and_in_joules(asked: Any, names: str) -> None:
    """Four solutions, three rows of table V and eight of table VI."""
    rows = list(printed_rows(asked))
    assert 15 == len(rows)
    assert {"printed"} == {row.origin for row in rows}
    assert [f"{names}-{i}" for i in range(4)] == [row.name for row in rows[:4]]
    assert all(0 < row.accuracy < 1 and not row.trainings for row in rows)
    assert 2.220821 == next(r for r in rows if r.name == "VGG11 without partition").edge_j
    nasnet = next(row for row in rows if row.name == "NASNet")
    assert (None, {"AC": 14_900, "SD": 15_900}[names]) == (nasnet.edge_j, nasnet.parameters)


@pytest.mark.parametrize(
    ("asked", "data", "expected"),
    [
        ("auto", "mitbih", "arrhythmia"),
        ("auto", "chbmit", "seizure"),
        ("auto", "bonn", None),
        ("none", "mitbih", None),
        ("seizure", "bonn", "seizure"),
    ],
)
def test_printed_figures_are_those_for_the_data(asked: Any, data: str, expected: Any) -> None:
    """Bonn's are not the paper's seizures: only who asks for them gets them."""
    assert expected == application(make_recipe(compare=CompareConfig(printed=asked)), data)
