"""A run with a search: what it leaves behind, that it repeats, and how it ends early."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import run_case
from run_case import BUNDLE

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from headtail.errors import DataError, SearchError
from optimizer.run_folder import RunFolder
from optimizer.search.history import read_history
from optimizer.search.record import SearchRecord

pytestmark = [
    pytest.mark.tf,
    pytest.mark.usefixtures("tensorflow"),
    # Keras 3.15 saving a model under NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
LIMIT_J = 5e-6
STAGES = """
[search]
channels = [1]
lengths = [0]
population = 4
generations = 1
epochs = 1
[train]
epochs = 2
[partition.bounds]
edge_j = {edge_j}
"""


def write_recipe(folder: Path, edge_j: float = LIMIT_J) -> Path:
    """Write a small recipe and its data; return the recipe's path."""
    return run_case.write_recipe(folder, STAGES.format(edge_j=edge_j))


def run(recipe: Path, out: Path, key_folder: Path) -> str:
    """Run a recipe in this process; return the bundle's digest."""
    return run_case.run(recipe, out, key_folder).digest


def events(folder: Path, event: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of one kind of a run's history."""
    for line in (folder / "history.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["event"] == event:
            yield record


@pytest.fixture(scope="module")
def finished(key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of a finished run and its bundle's digest."""
    folder = tmp_path_factory.mktemp("search")
    return folder / "out", run(write_recipe(folder), folder / "out", key_folder)


def unfinish(finished: Path, folder: Path, *lost: str) -> Path:
    """Copy a finished run as if it had been interrupted before it wrote some files."""
    shutil.copytree(finished, folder)
    for name in (*lost, "training.json", "model.keras", BUNDLE):
        (folder / name).unlink()
    run_folder = RunFolder(folder)
    record = msgspec.structs.replace(run_folder.record, bundle=None, digest=None)
    run_folder.write_record("run.json", record)
    return folder


def test_network_found_is_the_one_in_the_bundle(finished: tuple[Path, str], trust: Trust) -> None:
    """With the energy that the search said, and with its lineage."""
    out = finished[0]
    found = json.loads((out / "search.json").read_text())["winner"]
    manifest = read_bundle(out / BUNDLE, trust).manifest
    recipe = manifest.lineage.recipe
    assert {k: found[k] for k in ("lengths", "channels")} == recipe["found"]
    assert [32, 8, 4] == recipe["network"]["lengths"]
    assert "pygad" in manifest.lineage.packages
    point = manifest.points[manifest.default_point]
    cost = next(c for c in point.costs if c.encoding is manifest.default_encoding)
    assert pytest.approx(found["assessment"]["edge_j"]) == cost.edge_j
    assert cost.edge_j <= LIMIT_J
    for report in ("report.md", "report.html"):
        assert f"lengths {found['lengths']}" in (out / report).read_text()


def test_history_holds_every_network_once_and_every_generation(
    finished: tuple[Path, str],
) -> None:
    """What breaks the bounds has no score: it was never trained."""
    individuals = list(events(finished[0], "individual"))
    networks = [(str(i["lengths"]), str(i["channels"])) for i in individuals]
    assert len(networks) == len(set(networks))
    assert all(i["assessment"]["is_feasible"] == (i["score"] is not None) for i in individuals)
    assert [0, 1] == [g["generation"] for g in events(finished[0], "generation")]


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_interrupted_search_goes_on_and_comes_to_the_same_end(
    finished: tuple[Path, str], tmp_path: Path, key_folder: Path, kept: float
) -> None:
    """With what the torn history holds; in the end it holds every line of the search once."""
    out = unfinish(finished[0], tmp_path / "out", "search.json")
    content = (out / "history.jsonl").read_bytes()
    of_search = content[: content.index(b'{"event":"training"')]
    (out / "history.jsonl").write_bytes(of_search[: int(kept * len(of_search))])
    assert finished[1] == run(out / "recipe.toml", out, key_folder)
    assert content == (out / "history.jsonl").read_bytes()
    names = ("search.json", "history.jsonl", "training.json")
    for name in names:
        assert (finished[0] / name).read_bytes() == (out / name).read_bytes()


def test_history_alone_gives_the_search_back(finished: tuple[Path, str]) -> None:
    """The front and every figure of search.json."""
    record = msgspec.json.decode((finished[0] / "search.json").read_bytes(), type=SearchRecord)
    history = read_history(finished[0] / "history.jsonl")
    assert record.generations == history.generations
    assert record.front == history.front
    assert record.goals == history.goals == ("accuracy", "edge_energy")
    assert record.winner in history.individuals


def test_finished_search_is_not_repeated(
    finished: tuple[Path, str], tmp_path: Path, key_folder: Path
) -> None:
    """What was interrupted after it goes on with the network found."""
    out = unfinish(finished[0], tmp_path / "out")
    assert finished[1] == run(out / "recipe.toml", out, key_folder)
    assert len(list(events(out, "search"))) == 1


def test_bounds_that_no_network_keeps_end_the_run_before_any_training(
    tmp_path: Path, key_folder: Path
) -> None:
    """Nothing but the attempt is in the folder."""
    with pytest.raises(SearchError, match=r"none of the .* networks tried is within the bounds"):
        run(write_recipe(tmp_path, edge_j=1e-9), tmp_path / "out", key_folder)
    assert all(i["score"] is None for i in events(tmp_path / "out", "individual"))
    assert {"history.jsonl", "recipe.toml", "run.json"} == {
        p.name for p in (tmp_path / "out").iterdir()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "is_whole"), [("no_partition", True), ("partition_after", False)]
)
def test_comparators_cut_where_they_say(
    tmp_path: Path, key_folder: Path, trust: Trust, method: str, is_whole: bool
) -> None:
    """Without partition at the last point, after the search at the cheapest."""
    path = write_recipe(tmp_path, edge_j=1e-3)
    path.write_text(path.read_text().replace("[search]", f'[search]\nmethod = "{method}"'))
    run(path, tmp_path / "out", key_folder)
    manifest = read_bundle(tmp_path / "out" / BUNDLE, trust).manifest
    last = manifest.points[-1].index
    assert is_whole == (manifest.default_point == last)
    winner = json.loads((tmp_path / "out" / "search.json").read_text())["winner"]
    assert is_whole == (winner["assessment"]["point"] == len(winner["lengths"]))
    individuals = events(tmp_path / "out", "individual")
    assert all(i["assessment"]["point"] == len(i["lengths"]) for i in individuals)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[search]\nobjectives = ["accuracy", "latency"]', "search: device profile .* no speeds"),
        ("[partition.bounds]\nlatency_s = 1.0", "search: device profile .* has no speeds"),
        ("[partition.bounds]\nparameters = 3", r"search: none of .* parameters \d+ is \d+ over"),
        ("[partition.bounds]\ntotal_j = 1e-9", "search: none of .* total_j .* over its bound"),
    ],
)
def test_what_cannot_be_had_ends_the_run_before_any_training(
    tmp_path: Path, key_folder: Path, more: str, message: str
) -> None:
    """A profile asked for what it does not predict, and bounds below everything."""
    path = write_recipe(tmp_path)
    header, keys = more.split("\n")
    path.write_text(path.read_text().replace(header, f"{header}\n{keys}"))
    with pytest.raises(SearchError, match=message):
        run(path, tmp_path / "out", key_folder)
    assert (
        not list((tmp_path / "out").glob("*.json")) or not (tmp_path / "out/search.json").exists()
    )


@pytest.mark.parametrize(
    ("broken", "message"),
    [("nan", "data.npz.*(NaN|finite)"), ("one class", "at least two classes")],
)
def test_data_that_teaches_nothing_ends_the_run_before_any_training(
    tmp_path: Path, key_folder: Path, broken: str, message: str
) -> None:
    """Values that are no numbers, and a single class."""
    path = write_recipe(tmp_path)
    with np.load(tmp_path / "data.npz") as file:
        x, y = file["x"], file["y"]
    if broken == "nan":
        x[7, 3] = np.nan
    else:
        y[:] = 1
    np.savez(tmp_path / "data.npz", x=x, y=y)
    with pytest.raises(DataError, match=message):
        run(path, tmp_path / "out", key_folder)
    assert not (tmp_path / "out" / "history.jsonl").exists()


def test_halves_of_the_validation_split_are_disjoint_and_whole(
    tmp_path: Path, key_folder: Path
) -> None:
    """And one window cannot be halved."""
    from optimizer.data.load import load
    from optimizer.inputs import Inputs, build_inputs
    from optimizer.labelled import Labelled
    from optimizer.recipe.recipe import read_recipe
    from optimizer.run.short_training import ShortTraining

    recipe = read_recipe(write_recipe(tmp_path))
    inputs = build_inputs(load(recipe.data, lambda *_: None), recipe)
    halves = ShortTraining(recipe, (inputs,), 2).halves[0]
    assert abs(len(halves[0].y) - len(halves[1].y)) <= 1
    together = np.concatenate([half.x[:, :, 0] for half in halves])
    expected = inputs.validation.x[:, :, 0]
    assert np.array_equal(expected[np.lexsort(expected.T)], together[np.lexsort(together.T)])
    one = Labelled(inputs.validation.x[:1], inputs.validation.y[:1])
    with pytest.raises(DataError, match="at least 2 validation windows"):
        ShortTraining(recipe, (Inputs(inputs.train, one, inputs.test),), 2)
