"""A whole comparison on generated windows: its rows, its budget, and going on after a kill."""

import io
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from compare_case import Retrainer, make_contest, make_recipe
from rich.console import Console

from headtail.errors import SearchError
from optimizer.compare.compare import ComparatorRow, ComparisonRecord
from optimizer.compare.contest import Contest
from optimizer.partition import Bounds
from optimizer.progress import Terminal
from optimizer.recipe.recipe import CompareConfig, Recipe
from optimizer.run_folder import RunFolder
from optimizer.search.record import SearchRecord

pytestmark = pytest.mark.tf
METHODS = ("random", "no_partition", "partition_after", "parameters", "flops")


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


class Site:
    """A run's folder with a search that is finished, and what compares it."""

    def __init__(self, path: Path, **changes: Any) -> None:
        """Search in `path`; `changes` are fields of the contest."""
        from optimizer.chatter import load_tensorflow

        load_tensorflow()
        from optimizer.compare.run import compare_or_restore
        from optimizer.executor.executor import SerialExecutor
        from optimizer.run.search import search_or_restore
        from optimizer.run.short_training import ShortTraining

        self._compare = compare_or_restore
        self.folder = RunFolder(path)
        self.shown = io.StringIO()
        self.reporter = Terminal(Console(file=self.shown, width=300))
        self.contest: Contest = make_contest(search=self.search, **changes)
        self.searched: list[Recipe] = []
        classes, executor = len(self.contest.dataset.labels), SerialExecutor()

        def look(recipe: Recipe, folder: RunFolder, reporter: Terminal) -> SearchRecord:
            trainer = ShortTraining(recipe, self.contest.inputs, classes)
            terms = self.contest.terms
            return search_or_restore(recipe, terms, trainer, executor, folder, reporter)

        self._look = look
        path.mkdir(exist_ok=True)
        self.winner = look(self.contest.recipe, self.folder, self.reporter)

    def search(self, recipe: Recipe, folder: RunFolder, reporter: Any) -> SearchRecord:
        """Search, and keep what for."""
        self.searched.append(recipe)
        return self._look(recipe, folder, reporter)

    def compare(self) -> ComparisonRecord:
        """Run the stage."""
        return self._compare(self.contest, self.winner, self.folder, self.reporter)

    @property
    def retrainer(self) -> Retrainer:
        """What trained the rows' networks."""
        assert isinstance(self.contest.retrain, Retrainer)
        return self.contest.retrain


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, ComparisonRecord]:
    """Return a finished comparison."""
    site = Site(tmp_path_factory.mktemp("compare") / "out")
    return site, site.compare()


def untimed(rows: tuple[ComparatorRow, ...]) -> list[ComparatorRow]:
    """Return rows without how long they took."""
    return [msgspec.structs.replace(row, seconds=0.0) for row in rows]


def test_every_way_has_its_row(finished: tuple[Site, ComparisonRecord]) -> None:
    """In this order, each with its figures on the test split."""
    rows = finished[1].rows
    assert [
        "this search (evolution)",
        "random search",
        "search without partition",
        "partition after the search",
        "zero-shot (#parameters)",
        "zero-shot (#FLOPs)",
        "window sent as int8",
        "one sample in 4 sent as int8",
        "1-D VGG11 of width 1, on the edge",
        "1-D VGG11 of width 1, in the fog",
    ] == [row.name for row in rows]
    for row in rows:
        assert "measured" == row.origin
        assert row.accuracy is not None
        assert 0 <= row.accuracy <= 1
        assert None not in (row.macro_f1, row.edge_j, row.total_j, row.parameters, row.macs)
        assert row.edge_j <= row.total_j
        assert row.edge_parameters <= row.parameters


def test_learnable_windows_are_learnt(finished: tuple[Site, ComparisonRecord]) -> None:
    """A bump early or late: the rows' figures are no chance."""
    rows = {row.name: row for row in finished[1].rows}
    assert rows["window sent as int8"].accuracy > 0.9
    assert rows["this search (evolution)"].accuracy > 0.9


def test_ways_of_searching_have_the_budget_of_the_run_s_own(
    finished: tuple[Site, ComparisonRecord],
) -> None:
    """The same generations and population; the rest of the recipe is the same but the method."""
    site, _ = finished
    own = site.contest.recipe
    assert list(METHODS) == [recipe.search.method for recipe in site.searched]
    for recipe in site.searched:
        search = msgspec.structs.replace(recipe.search, method=own.search.method, generations=2)
        assert own == msgspec.structs.replace(recipe, search=search)
        assert len(site.winner.generations) - 1 == recipe.search.generations


def test_trainings_are_those_in_each_history_and_the_last(
    finished: tuple[Site, ComparisonRecord],
) -> None:
    """Zero-shot trains its finalists alone, random search every network it saw."""
    site, record = finished
    trainings = dict(zip(("own", *METHODS), (r.trainings for r in record.rows), strict=False))
    for method in METHODS:
        path = site.folder.path / "compare" / method / "history.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        scored = [line for line in lines if line["event"] == "individual" and line["score"]]
        assert len(scored) + 1 == trainings[method]
    finalists = site.contest.recipe.search.finalists
    assert trainings["parameters"] <= finalists + 1
    assert trainings["flops"] <= finalists + 1
    assert trainings["random"] > finalists + 1


def test_network_without_partition_runs_on_the_edge(
    finished: tuple[Site, ComparisonRecord],
) -> None:
    """And the one that is cut afterwards costs the edge no more."""
    rows = {row.name: row for row in finished[1].rows}
    whole, cut = rows["search without partition"], rows["partition after the search"]
    assert whole.edge_parameters == whole.parameters
    assert whole.edge_j == whole.total_j
    assert whole.note == cut.note
    assert cut.edge_j <= whole.edge_j


def test_zero_shot_finds_more_parameters_than_any_other(
    finished: tuple[Site, ComparisonRecord],
) -> None:
    """Among the networks of the space nothing bounds them here."""
    rows = {row.name: row for row in finished[1].rows}
    others = [rows[n].parameters for n in ("this search (evolution)", "random search")]
    assert rows["zero-shot (#parameters)"].parameters >= max(others)


def test_finished_comparison_is_read_not_made(
    finished: tuple[Site, ComparisonRecord], tmp_path: Path
) -> None:
    site, record = finished
    shutil.copytree(site.folder.path, tmp_path / "out")
    asked = len(site.retrainer.asked)
    again = site._compare(site.contest, site.winner, RunFolder(tmp_path / "out"), site.reporter)
    assert record == again
    assert asked == len(site.retrainer.asked)


def test_killed_between_rows_goes_on_with_the_rows_that_are_missing(
    finished: tuple[Site, ComparisonRecord], tmp_path: Path
) -> None:
    """Every network is trained once, and the rows are those of an uninterrupted run."""
    whole, expected = finished
    counted = itertools.count(1)
    retrain = whole.contest.retrain
    trained: list[tuple[object, int]] = []

    def dies_at(last: int) -> Callable[..., Any]:
        def train(candidate: Any, inputs: Any, seed: int) -> Any:
            if next(counted) == last:
                raise Killed
            trained.append((candidate, inputs.train.x.shape[1]))
            return retrain(candidate, inputs, seed)

        return train

    site = Site(tmp_path / "out", retrain=dies_at(3))
    with pytest.raises(Killed):
        site.compare()
    assert {"own.json", "random.json"} == {
        p.name for p in (tmp_path / "out" / "compare").glob("*.json")
    }
    site = Site(tmp_path / "out", retrain=dies_at(9))
    with pytest.raises(Killed):
        site.compare()
    assert 7 == len(list((tmp_path / "out" / "compare").glob("*.json")))
    actual = Site(tmp_path / "out", retrain=dies_at(0)).compare()
    assert untimed(expected.rows) == untimed(actual.rows)
    assert 8 == len(trained)


def test_method_that_finds_nothing_within_the_bounds_has_a_row_that_says_so(
    tmp_path: Path,
) -> None:
    """Less than any whole network costs on the edge, more than some heads do."""
    recipe = make_recipe(compare=CompareConfig(vgg_width=0))
    site = Site(tmp_path / "out", recipe=recipe, bounds=Bounds(edge_j=3e-6))
    record = site.compare()
    whole = next(row for row in record.rows if row.name == "search without partition")
    assert (None, None, 0) == (whole.accuracy, whole.edge_j, whole.trainings)
    assert "nothing found: search: none of the" in whole.note
    assert "beyond its bound" in next(r for r in record.rows if "window sent" in r.name).note


def test_other_errors_are_not_taken_for_an_empty_search(tmp_path: Path) -> None:
    """A row must not hide what is wrong with the run."""
    site = Site(tmp_path / "out", retrain=lambda *_: (_ for _ in ()).throw(SearchError("x", "y")))
    with pytest.raises(SearchError, match="y"):
        site.compare()
