"""A run whose search has inputs and rungs: the winner's steps are those of the bundle."""

import json
from pathlib import Path

import pytest
import run_case
from run_case import BUNDLE, run

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from headtail.errors import ConfigError, DataError

pytestmark = [
    pytest.mark.tf,
    # Keras 3.15 saving a model under NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
STAGES = """
kernels = [1, 2, 1]
[search]
channels = [1, 2]
lengths = [0, 16, 24]
kernels = [1, 2]
population = 6
generations = 2
rungs = [1, 2]
windows = 200
{inputs}
[train]
epochs = 2
[partition.bounds]
edge_j = {edge_j}
"""
HALF = """
[[search.inputs]]
[[search.inputs.preprocess]]
name = "interpolate"
parameters = { length = 8 }
[[search.inputs.preprocess]]
name = "reshape"
parameters = { shape = [8, 1] }
"""


def write_recipe(folder: Path, inputs: str = HALF, edge_j: float = 6e-6) -> Path:
    """Write a small recipe and its data; return the recipe's path."""
    return run_case.write_recipe(folder, STAGES.format(inputs=inputs, edge_j=edge_j))


def test_steps_of_the_winner_are_those_of_the_bundle(
    tmp_path: Path, key_folder: Path, trust: Trust
) -> None:
    """Only the short input keeps the bound: sending 8 samples costs 5.1 uJ, 32 cost 20.6."""
    run(write_recipe(tmp_path), tmp_path / "out", key_folder)
    winner = json.loads((tmp_path / "out" / "search.json").read_text())["winner"]
    assert (1, 8) == (winner["input"], winner["lengths"][0])
    assert 2 == winner["epochs"]
    manifest = read_bundle(tmp_path / "out" / BUNDLE, trust).manifest
    assert ["interpolate", "reshape"] == [step.name for step in manifest.preprocess]
    found = manifest.lineage.recipe["found"]
    assert ["interpolate", "reshape"] == [step["name"] for step in found["preprocess"]]
    assert winner["lengths"] == found["lengths"]
    assert (-1, 8, 1) == manifest.points[0].activation[0].shape


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("[5, 2]", "split 'train', steps interpolate, reshape: .*received.*"),
        ("[8]", r"steps interpolate, reshape: .*expected shape \(any, any\), received \(8\)"),
    ],
)
def test_steps_that_do_not_fit_end_the_run_before_any_training(
    tmp_path: Path, key_folder: Path, shape: str, message: str
) -> None:
    """In one line that names them."""
    path = write_recipe(tmp_path, HALF.replace("[8, 1]", shape))
    with pytest.raises(DataError, match=message) as caught:
        run(path, tmp_path / "out", key_folder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "history.jsonl").exists()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (HALF.replace("interpolate", "beats"), r"recipe.toml: \[\[search.inputs\]\] 1.*"),
        (HALF.replace("interpolate", "unheard"), r"recipe.toml: \[\[search.inputs\]\] 1.*unheard"),
        ("[[search.inputs]]\npreprocess = []", r"recipe.toml.*length >= 1.*inputs"),
    ],
)
def test_steps_that_are_none_are_refused(tmp_path: Path, inputs: str, message: str) -> None:
    """As the file is read."""
    from optimizer.recipe.recipe import read_recipe

    with pytest.raises(ConfigError, match=message):
        read_recipe(write_recipe(tmp_path, inputs))
