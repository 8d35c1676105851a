"""Selecting cuts: `auto`, `all` and indices."""

import pytest

from headtail.errors import ExportError
from headtail.tensor import TensorSpec
from optimizer.cut.cut import Cut, select_cuts


def cuts_of(*sizes: int, input_values: int = 100) -> tuple[Cut, ...]:
    """Return cuts whose single activations have so many float32 values."""
    return tuple(
        Cut(i, i + 1, (TensorSpec(f"t{i}", "float32", (-1, n)),), 4 * input_values)
        for i, n in enumerate(sizes)
    )


def test_auto_keeps_each_new_smallest() -> None:
    cuts = cuts_of(120, 80, 90, 80, 40, 60, 10)
    assert [c.index for c in select_cuts(cuts, "auto")] == [1, 4, 6]


def test_auto_keeps_the_smallest_where_none_is_below_the_input() -> None:
    assert [c.index for c in select_cuts(cuts_of(300, 200, 250), "auto")] == [1]


def test_auto_keeps_at_most_eight_with_both_ends() -> None:
    """Evenly over the ratio of sizes, so that neither the large nor the small crowd the rest."""
    chosen = select_cuts(cuts_of(*range(99, 0, -1)), "auto")
    assert len(chosen) == 8
    assert (chosen[0].index, chosen[-1].index) == (0, 98)


def test_auto_of_no_cuts_is_no_cut() -> None:
    assert select_cuts((), "auto") == ()


def test_indices_are_sorted_and_taken_once() -> None:
    assert [c.index for c in select_cuts(cuts_of(5, 5, 5, 5), (3, 1, 3))] == [1, 3]


@pytest.mark.parametrize(("cuts", "known"), [(cuts_of(1, 2), "0 to 1"), ((), "none")])
def test_index_of_no_cut_is_refused(cuts: tuple[Cut, ...], known: str) -> None:
    with pytest.raises(ExportError, match=f"points: 7 is no legal cut of this model: {known}"):
        select_cuts(cuts, (7,))


def test_more_cuts_than_a_bundle_holds_are_refused() -> None:
    with pytest.raises(ExportError, match="600 cuts: a bundle holds at most 512 segments"):
        select_cuts(cuts_of(*[1] * 600), "all")
