"""A whole run with its search spread over processes finds what one without finds."""

from pathlib import Path

import pytest
import run_case

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tf,
    # Keras 3.15 saving a model under NumPy 2; Ray's own.
    pytest.mark.filterwarnings("default"),
]
Found = tuple[str, bytes]
STAGES = """
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


def run(folder: Path, kind: str, workers: int, key_folder: Path) -> Found:
    """Run the recipe; return the bundle's digest and the search's record."""
    recipe = run_case.write_recipe(folder, STAGES.format(kind=kind, workers=workers))
    digest = run_case.run(recipe, folder / "out", key_folder).digest
    return digest, (folder / "out" / "search.json").read_bytes()


@pytest.fixture(scope="module")
def serial(key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Return what is found without an executor's processes."""
    return run(tmp_path_factory.mktemp("serial"), "serial", 0, key_folder)


@pytest.mark.parametrize(("kind", "workers"), [("local", 2), ("ray", 1)])
def test_executor_changes_nothing_that_is_found(
    kind: str, workers: int, serial: Found, key_folder: Path, tmp_path: Path
) -> None:
    """One bundle, bit by bit: where networks were trained is not part of it."""
    if kind == "ray":
        pytest.importorskip("ray", reason="needs the extra ray")
    assert serial == run(tmp_path, kind, workers, key_folder)
