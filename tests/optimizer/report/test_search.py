"""Drawings of a search: from its history and recipe alone, every network where it belongs."""

import itertools
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from report_case import make_summary, write_search

from optimizer.report.rebuild import rebuild
from optimizer.report.report import write_report
from optimizer.run_folder import HISTORY, RunFolder
from optimizer.search.history import read_history

pytestmark = pytest.mark.tf
SVG = "{http://www.w3.org/2000/svg}"
GOALS = ("accuracy", "edge_energy", "total_energy")
NAMES = {"front_edge", "front_total", "generations", "hypervolume"}


def hovers(svg: str) -> list[str]:
    """Return the hover texts of a drawing."""
    return [title.text or "" for title in ET.fromstring(svg).iter(f"{SVG}title")]


def test_plots_are_rebuilt_from_history_and_recipe_alone(tmp_path: Path) -> None:
    """Byte by byte, after everything else that tells of the search is gone."""
    found = write_search(tmp_path, GOALS)
    write_report(make_summary(found=found), RunFolder(tmp_path))
    before = {name: (tmp_path / f"plot_{name}.svg").read_bytes() for name in NAMES}
    for path in tmp_path.iterdir():
        if path.name not in {HISTORY, "recipe.toml"}:
            path.unlink()
    after = {name: svg.encode() for name, svg in rebuild(tmp_path).items()}
    assert before == after


def test_every_trained_network_is_drawn_once_and_the_winner_marked(tmp_path: Path) -> None:
    """With genome, point, encoding and parameters where one points at it."""
    found = write_search(tmp_path, GOALS)
    history = read_history(tmp_path / HISTORY)
    told = hovers(rebuild(tmp_path)["front_edge"])
    trained = [text for text in told if "steering half" in text]
    assert len(history.scores) + 1 == len(trained)
    assert 1 == sum(text.startswith("chosen\n") for text in told)
    assert len(found.front) == sum(text.startswith("on the front\n") for text in told)
    winner, kept = found.winner, found.winner.assessment
    assert kept.point is not None
    assert kept.encoding is not None
    (text,) = (text for text in told if text.startswith("chosen\n"))
    assert f"lengths {' '.join(map(str, winner.lengths))}\n" in text
    assert f"channels {' '.join(map(str, winner.channels))}\n" in text
    assert f"point {kept.point}, {kept.encoding.value} on the wire\n" in text
    assert f"{kept.parameters} parameters\n" in text


def test_networks_that_were_never_trained_lie_on_the_axis(tmp_path: Path) -> None:
    """With the bound that they break; those beyond the energies of the others are left out."""
    write_search(tmp_path, GOALS)
    history = read_history(tmp_path / HISTORY)
    trained = next(i for i in history.individuals if i.score is not None)
    reason = "flash_bytes 9 is 1 over its bound of 8"
    for factor in (1, 1000):
        assert trained.assessment.edge_j is not None
        found = {"is_feasible": False, "edge_j": factor * trained.assessment.edge_j}
        network = {"lengths": [192, 6 * factor], "channels": [1, 60], "generation": 0}
        line = {"event": "individual", **network, "assessment": {**found, "reason": reason}}
        with (tmp_path / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    told = [t for t in hovers(rebuild(tmp_path)["front_edge"]) if "steering half" not in t]
    assert [reason] == [text.split("\n")[-1] for text in told if "lengths 192 6\n" in text]
    assert not any("lengths 192 6000\n" in text for text in told)
    known = {i.assessment.reason for i in history.individuals if i.score is None} | {reason}
    assert {text.split("\n")[-1] for text in told} <= known


def test_heights_of_the_front_follow_its_scores(tmp_path: Path) -> None:
    """Equal steps in score are equal steps on the page, upwards."""
    write_search(tmp_path, GOALS)
    history = read_history(tmp_path / HISTORY)
    root = ET.fromstring(rebuild(tmp_path)["front_edge"])
    heights = {}
    for circle in root.iter(f"{SVG}circle"):
        title = circle.find(f"{SVG}title")
        if title is not None:
            heights[title.text or ""] = float(circle.get("cy", "nan"))
    scores = [i.score for i in history.individuals if i.score is not None]
    trained = sorted({s for s in scores if s > max(scores) - 0.3})
    assert len(trained) > 3
    places = [
        next(y for text, y in heights.items() if f"{100 * score:.1f} % on the steering" in text)
        for score in trained
    ]
    slopes = [
        (b - a) / (t - s)
        for (a, b), (s, t) in zip(
            itertools.pairwise(places), itertools.pairwise(trained), strict=True
        )
    ]
    assert pytest.approx(slopes[0], rel=0.05) == slopes[-1]
    assert slopes[0] < 0


def test_generations_tell_best_mean_and_hypervolume(tmp_path: Path) -> None:
    """As the history has them."""
    found = write_search(tmp_path, GOALS)
    plots = rebuild(tmp_path)
    expected = [
        f"generation {g.generation}\nbest {100 * (g.best or 0):.1f} %" for g in found.generations
    ]
    assert expected == [t for t in hovers(plots["generations"]) if "best" in t]
    volumes = [f"hypervolume {g.hypervolume:.4f}" for g in found.generations]
    assert volumes == [t.split("\n")[1] for t in hovers(plots["hypervolume"])]


def test_total_energy_is_drawn_where_it_is_a_goal(tmp_path: Path) -> None:
    """Not otherwise."""
    write_search(tmp_path, ("accuracy", "edge_energy"))
    assert NAMES - {"front_total"} == rebuild(tmp_path).keys()


def test_recipe_without_search_has_no_plots_of_one(tmp_path: Path) -> None:
    """Even where an old history lies beside it."""
    write_search(tmp_path, GOALS)
    text = (Path(__file__).parents[3] / "recipes" / "synthetic.toml").read_text()
    (tmp_path / "recipe.toml").write_text(text)
    assert {} == rebuild(tmp_path)
