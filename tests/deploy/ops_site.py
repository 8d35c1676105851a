"""A fog, a job service, and requests for a better model between them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from operating import Operator

from fog_server.server import FogServer
from optimizer.serve.server import JobService
from reoptimization.cli import main

RECIPE = """
name = "chain"
version = "9"
task = "{task}"
[network]
lengths = [32, 8]
channels = [1, 2]
"""


@dataclass
class Site:
    """A fog, a job service, and who asks them."""

    folder: Path
    fog: FogServer
    jobs: JobService
    operator: Operator
    capsys: pytest.CaptureFixture[str]

    def words(self, task: str = "make=better", *more: str, name: str = "recipe.toml") -> list[str]:
        """Return a command line; the trial is over at once unless it says otherwise."""
        recipe = self.folder / name
        recipe.write_text(RECIPE.format(task=task))
        ends = ["--fog", self.fog.address, "--optimizer", self.jobs.address]
        rules = ["--bake", "0s", "--min-windows", "0", "--timeout", "60s"]
        return ["--recipe", str(recipe), *ends, *rules, *more]

    def ask(self, task: str = "make=better", *more: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code and what `--json` prints."""
        code = main([*self.words(task, *more), "--json"])
        told = json.loads(self.capsys.readouterr().out)
        assert code == told["exit_code"]
        return code, told
