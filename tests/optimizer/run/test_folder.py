"""The folder of a run: whose it is, and that nothing in it is half-written."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from headtail.errors import ConfigError
from optimizer.recipe.recipe import NetworkConfig, Recipe
from optimizer.run_folder import open_run

RECIPE = Recipe("small", "1", "test", NetworkConfig((16, 4), (1, 2)), seed=4)


def test_new_folder_holds_a_copy_of_the_recipe(tmp_path: Path) -> None:
    """As the user wrote it, comments and all."""
    folder = open_run(tmp_path / "a" / "b", RECIPE, b"# mine\n")
    assert (folder.path / "recipe.toml").read_bytes() == b"# mine\n"
    assert (folder.record.seed, folder.record.digest) == (4, None)


def test_same_recipe_may_come_back(tmp_path: Path) -> None:
    """To go on, or to hear that it is finished."""
    open_run(tmp_path, RECIPE, b"").finish("small-1.bundle", "0" * 64)
    assert open_run(tmp_path, RECIPE, b"").record.bundle == "small-1.bundle"


@pytest.mark.parametrize("change", [{"seed": 5}, {"version": "2"}])
def test_folder_of_another_run_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """And stays as it was."""
    open_run(tmp_path, RECIPE, b"first")
    other = msgspec.structs.replace(RECIPE, **change)
    with pytest.raises(ConfigError, match="holds the run of another recipe, version or seed"):
        open_run(tmp_path, other, b"second")
    assert (tmp_path / "recipe.toml").read_bytes() == b"first"


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    """--out is not the place for a home directory."""
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="holds files that are no run"):
        open_run(tmp_path, RECIPE, b"")
    assert ["thesis.tex"] == [p.name for p in tmp_path.iterdir()]


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"--out .*file: cannot be written to: File exists"):
        open_run(tmp_path / "file", RECIPE, b"")


def test_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """Whatever interrupts it."""
    folder = open_run(tmp_path, RECIPE, b"")
    folder.write("test.npz", b"old")
    before = sorted(p.name for p in tmp_path.iterdir())

    class Broken:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.write_arrays("test.npz", {"whole": np.ones(9), "broken": Broken()})
    assert (tmp_path / "test.npz").read_bytes() == b"old"
    assert before == sorted(p.name for p in tmp_path.iterdir())


def test_history_only_grows(tmp_path: Path) -> None:
    """One JSON object a line."""
    folder = open_run(tmp_path, RECIPE, b"")
    folder.append({"epoch": 1})
    folder.append({"epoch": 2})
    assert (tmp_path / "history.jsonl").read_text() == '{"epoch":1}\n{"epoch":2}\n'


def test_broken_record_is_named(tmp_path: Path) -> None:
    """Somebody edited it."""
    open_run(tmp_path, RECIPE, b"")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run.json: cannot be read"):
        open_run(tmp_path, RECIPE, b"")
