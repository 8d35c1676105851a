"""The page and the drawings of results made by hand."""

import math
import xml.etree.ElementTree as ET

import msgspec
import pytest

from regret_analysis import Fixed, Phase, Prediction
from regret_cost import OBJECTIVES
from regret_links import Link, Weather
from regret_machine import Load
from regret_page import write_page
from regret_results import LinkRow, Results, WeatherRow, best_counts, judge, read_costs
from regret_work import LiveRun
from test_analysis import window

A, B = (0, "int8", ""), (5, "float32", "")


def row(kind: str, objective: str, regrets: tuple[float, ...], lost: int = 0) -> LinkRow:
    """Return a live run whose phases have these regrets."""
    phases = [
        Phase(A, 0.1, 0.1 * (1 + regret), regret, 40, 30.0, 3, 1, {"0 int8": 1.0},
              Prediction(0.1, 0.11, 0.08, -0.08))
        for regret in regrets
    ]  # fmt: skip
    return LinkRow(kind, "1 Mbit/s, 10 ms", 1e6, 0.01, objective, phases, lost, 0, 0, 0)


@pytest.fixture
def results() -> Results:
    """Return the results of two links."""
    weather = WeatherRow(
        "1 Mbit/s, 10 ms", 1e6, 0.01, False,
        [Fixed(A, 20, {"latency": 0.1, "edge_energy": 2.0}, {"latency": 0.1, "edge_energy": 2.0}),
         Fixed(B, 20, {"latency": 0.2, "edge_energy": 1.0}, {"latency": 0.2, "edge_energy": 1.0})],
    )  # fmt: skip
    rows = [
        r for o in OBJECTIVES for r in (row("steady", o, (0.04,)), row("stepping", o, (0.1, 0.0)))
    ]
    return Results("two cores", [Load("weathers", 60.0, 0.1, 0.3, 0.5)], [weather], rows)


def test_figures_are_over_all_phases(results):
    figures = results.figures("latency")
    assert (3, 2, 3, 3, 3) == (
        figures.phases, figures.within, figures.settled, figures.slowest, figures.errors_within,
    )  # fmt: skip
    assert (0.14 / 3, 0.04, 0.1) == pytest.approx(
        (figures.mean_regret, figures.median_regret, figures.worst_regret)
    )
    assert 60 * 3 / 90 == pytest.approx(figures.switches_a_minute)
    assert 0.08 == pytest.approx(figures.error)


def test_lost_window_makes_results_unsound(results):
    assert results.is_whole
    lost = msgspec.structs.replace(results, links=[row("steady", "latency", (0.0,), lost=1)])
    assert not lost.is_whole


def test_best_plans_are_counted_by_objective(results):
    assert [{"0 int8": 1}, {"5 float32": 1}] == [best_counts(results, o) for o in OBJECTIVES]


def test_page_tells_every_link_and_its_drawings_are_there(results, tmp_path):
    write_page(results, tmp_path)
    page = (tmp_path / "regret.md").read_text()
    assert "| steady: 1 Mbit/s, 10 ms | 1 | 0 int8 | 100.0 | 0 int8 | 104.0 | +4.0% |" in page
    assert "| regret, worst | at most 5% | +10.0% | +10.0% |" in page
    assert "two cores" in page
    for drawing in ("regret", "prediction"):
        for objective in OBJECTIVES:
            assert f"({drawing}-{objective}.svg)" in page
            ET.parse(tmp_path / f"{drawing}-{objective}.svg")


def test_costs_of_an_earlier_run_are_read_again(results, tmp_path):
    """That of a plan which missed its deadline is infinite, for which JSON has no number."""
    path = tmp_path / "regret.json"
    never = dict.fromkeys(OBJECTIVES, math.inf)
    results.weathers[0].fixed.append(Fixed((3, "float16", ""), 0, never, never, "missed"))
    path.write_bytes(msgspec.json.encode(results))
    weather = Weather(1e6, 0.01)
    assert {weather: results.weathers[0].fixed} == read_costs(path, [weather])


def test_live_run_without_windows_enough_is_judged_by_its_last(results):
    """A run of one window on one link: nothing is lost, and it never settled."""
    weather = Weather(1e6, 0.01)
    link, costs = Link("steady", (weather,)), {weather: results.weathers[0].fixed}
    live = {(link, o): [LiveRun([window(0)], 1)] for o in OBJECTIVES}
    judged = judge([link], costs, live, [])
    phase = judged.rows("latency")[0].phases[0]
    assert (0.1, None, 0) == (phase.live_cost, phase.settled_after, judged.rows("latency")[0].lost)
