"""A whole run with its search spread over processes finds what one without finds."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from optimizer.progress import Terminal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tf,
    # Keras 3.15 saving a model under NumPy 2; Ray's own.
    pytest.mark.filterwarnings("default"),
]
RECIPE = """
name = "bumps"
version = "1"
task = "where the bump is"
seed = 3
[data]
source = "npz"
path = "{data}"
[[preprocess]]
name = "reshape"
parameters = {{ shape = [32, 1] }}
[network]
lengths = [32, 8, 4]
channels = [1, 1, 4]
[search]
channels = [1]
lengths = [0]
population = 4
generations = 1
epochs = 1
[train]
epochs = 1
[executor]
kind = "{kind}"
workers = {workers}
"""


def run(folder: Path, kind: str, workers: int, key_folder: Path) -> tuple[str, bytes]:
    """Run the recipe; return the bundle's digest and the search's record."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()
    from optimizer.run.run import RunRequest, run_recipe

    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 400)
    x = rng.normal(0, 0.2, (400, 32)).astype(np.float32)
    x[np.arange(400), np.where(y == 0, 6, 24)] += 3
    np.savez(folder / "data.npz", x=x, y=y)
    recipe = folder / f"{kind}.toml"
    recipe.write_text(RECIPE.format(data=folder / "data.npz", kind=kind, workers=workers))
    request = RunRequest(recipe, folder / kind, key_folder / "test.key")
    digest = run_recipe(request, Terminal(Console(file=io.StringIO()))).digest
    return digest, (folder / kind / "search.json").read_bytes()


@pytest.mark.parametrize(("kind", "workers"), [("local", 2), ("ray", 1)])
def test_executor_changes_nothing_that_is_found(
    kind: str, workers: int, key_folder: Path, tmp_path: Path
) -> None:
    """One bundle, bit by bit: where networks were trained is not part of it."""
    if kind == "ray":
        pytest.importorskip("ray")
    assert run(tmp_path, "serial", 0, key_folder) == run(tmp_path, kind, workers, key_folder)
