"""The harness of a comparison: seeds, means, prices, and what is left without a search."""

import io
from pathlib import Path

import numpy as np
import pytest
from compare_case import make_contest, make_recipe
from rich.console import Console

from headtail.operations import Operations
from optimizer.compare.compare import ComparatorRow
from optimizer.partition import Bounds
from optimizer.progress import Terminal
from optimizer.recipe.recipe import CompareConfig
from optimizer.run_folder import RunFolder


@pytest.mark.tf
@pytest.mark.usefixtures("tensorflow")
def test_without_a_search_the_trivial_rows_and_the_reference_are_left(tmp_path: Path) -> None:
    from optimizer.compare.run import compare_or_restore

    recipe = make_recipe(search=None, compare=CompareConfig(vgg_width=0, seeds=2))
    contest = make_contest(recipe)
    shown = io.StringIO()
    reporter = Terminal(Console(file=shown, width=200))
    rows = compare_or_restore(contest, None, RunFolder(tmp_path), reporter).rows
    assert ["window sent as int8", "one sample in 4 sent as int8"] == [r.name for r in rows]
    assert [2, 2] == [row.trainings for row in rows]
    assert all(row.accuracy_std is not None for row in rows)
    assert [0, 1, 0, 1] == [seed for _, _, seed in contest.retrain.asked]
    assert "window sent as int8: test accuracy" in shown.getvalue()


def test_mean_and_deviation_are_over_the_seeds() -> None:
    """Accuracies of 1/2 and 1: mean 3/4, sample deviation 1/4 x sqrt(2)."""
    recipe = make_recipe(compare=CompareConfig(seeds=2))
    row = ComparatorRow("x", "calculated", trainings=3)
    tested = make_contest(recipe).tested(
        row, lambda seed: np.diag([1, 1]) if seed else np.array([[1, 0], [1, 0]])
    )
    assert (0.75, pytest.approx(0.25 * 2**0.5), 5) == (
        *(tested.accuracy, tested.accuracy_std),
        tested.trainings,
    )
    assert pytest.approx((2 / 3 / 2 + 1) / 2) == tested.macro_f1
    assert "measured" == tested.origin


def test_price_is_head_and_radio_on_the_edge_and_a_share_of_the_rest() -> None:
    """1,000 MACs of a convolution on the edge, 3,000 in the fog at a tenth, 5 bytes between."""
    head, tail = (Operations(conv_macs=n, conv_macz=n) for n in (1000, 3000))
    price = make_contest().price(head, head + tail, 5)
    edge_j = 1000 * 26.47e-9 + 20.1e-3 * 40 / 1e6
    assert pytest.approx(edge_j) == price.edge_j
    assert pytest.approx(edge_j + 300 * 26.47e-9) == price.total_j


def test_breaches_name_the_bounds_that_are_broken_alone() -> None:
    """A value at its bound keeps it; what is not bounded cannot be broken."""
    contest = make_contest(bounds=Bounds(edge_j=1e-6, parameters=10))
    assert "" == contest.breaches(edge_j=1e-6, total_j=1.0, parameters=10)
    assert "parameters 11 is beyond its bound of 10" == contest.breaches(parameters=11)
