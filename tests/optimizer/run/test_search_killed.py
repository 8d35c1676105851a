"""SIGKILL at any moment of a search, and run again: the same archive, the same search.json."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from run_case import PROGRAM, SECONDS, write_recipe

from optimizer.search.history import read_history

pytestmark = [pytest.mark.tf, pytest.mark.slow]
STAGES = """
[search]
channels = [1, 2]
lengths = [0]
population = 6
rungs = [1, 2]
generations = 3
epochs = 1
objectives = ["accuracy", "edge_energy", "parameters"]
[train]
epochs = 1
"""


class Search:
    """A process of `optimizer run` that is killed at the latest when its search is done."""

    def __init__(self, recipe: Path, out: Path, key: Path) -> None:
        """Start it."""
        self.out = out
        self.process = subprocess.Popen(
            [*PROGRAM, "run", str(recipe), "--out", str(out), "--key", str(key)],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill_after(self, new_bytes: int) -> None:
        """Kill it once it has written that much history, at the latest when its search is done."""
        history = self.out / "history.jsonl"
        enough = new_bytes + (history.stat().st_size if history.exists() else 0)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            written = history.stat().st_size if history.exists() else 0
            if written >= enough or (self.out / "search.json").exists():
                break
            time.sleep(0.002)
        self.process.send_signal(signal.SIGKILL)
        _, stderr = self.process.communicate(timeout=SECONDS)
        assert -signal.SIGKILL == self.process.returncode, stderr


def of_search(out: Path) -> bytes:
    """Return the lines of the search: the training may have begun before the kill."""
    content = (out / "history.jsonl").read_bytes()
    return content.partition(b'{"event":"training"')[0]


def test_search_killed_at_random_moments_ends_as_if_it_never_was(
    tmp_path: Path, key_folder: Path
) -> None:
    """Each time a little further; a kill may tear a line, and one is torn by hand."""
    recipe, key = write_recipe(tmp_path, STAGES, seed=5), key_folder / "test.key"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    Search(recipe, whole, key).kill_after(1 << 40)
    rng = np.random.default_rng()
    attempts = 0
    while not (killed / "search.json").exists():
        attempts += 1
        new_bytes = int(rng.integers(1, 1200)) if attempts < 5 else 1 << 40
        Search(recipe, killed, key).kill_after(new_bytes)
        if attempts == 2:
            with (killed / "history.jsonl").open("ab") as file:
                file.write(b'{"event":"individual","generation":0,"len')
    assert attempts > 2
    assert (whole / "search.json").read_bytes() == (killed / "search.json").read_bytes()
    assert of_search(whole) == of_search(killed)
    one, other = (read_history(folder / "history.jsonl") for folder in (whole, killed))
    assert one == other
    assert len(one.scores) > 5
