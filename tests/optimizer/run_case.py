"""Whole runs of a small recipe, which learns where in a window a bump is; for several tests."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from headtail.tensor import Array
from optimizer.progress import Terminal

if TYPE_CHECKING:
    from optimizer.report.summary import RunSummary
    from optimizer.run.opening import RunResult

PROGRAM = [sys.executable, "-m", "optimizer.cli"]
SECONDS = 1800.0  # far more than a run of the tests takes on a busy machine
BUNDLE = "bumps-1.bundle"
RECIPE = """
name = "bumps"
version = "1"
task = "where the bump is"
seed = {seed}
[data]
{data}
[[preprocess]]
name = "reshape"
parameters = {{ shape = [32, 1] }}
[network]
lengths = [32, 8, 4]
channels = [1, 1, 4]
{more}
"""


def bumps(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return windows, shape (count, 32), with a bump early (class 0) or late (1), and classes."""
    y = rng.integers(0, 2, count)
    x = rng.normal(0, 0.2, (count, 32)).astype(np.float32)
    x[np.arange(count), np.where(y == 0, 6, 24)] += 3
    return x, y


def write_recipe(folder: Path, more: str, *, seed: int = 3, windows: int = 400) -> Path:
    """Write `folder`/data.npz and a recipe whose [network] goes on with `more`; return its path."""
    x, y = bumps(windows, np.random.default_rng(2))
    np.savez(folder / "data.npz", x=x, y=y)
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(seed=seed, data=npz(folder), more=more))
    return path


def npz(folder: Path) -> str:
    """Return what a recipe says of `folder`/data.npz."""
    return f'source = "npz"\npath = "{folder / "data.npz"}"'


def run(
    recipe: Path, out: Path, key_folder: Path, shown: io.StringIO | None = None
) -> "RunResult[RunSummary]":
    """Run a recipe in this process; what a terminal would show goes to `shown`."""
    from optimizer.chatter import load_tensorflow

    load_tensorflow()
    from optimizer.run.opening import RunRequest
    from optimizer.run.run import run_recipe

    request = RunRequest(recipe, out, key_folder / "test.key")
    return run_recipe(request, Terminal(Console(file=shown or io.StringIO())))
