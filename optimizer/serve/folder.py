"""The folder of a job: what its process reads and writes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The names of the files."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The recipe as it was sent."""
        return self.path / "recipe.toml"

    @property
    def run(self) -> Path:
        """The run's own folder: history, models, bundle, report."""
        return self.path / "run"

    @property
    def events(self) -> Path:
        """Standard output of the process: events, an object a line."""
        return self.path / "events.jsonl"

    @property
    def output(self) -> Path:
        """Standard error of the process."""
        return self.path / "output.log"

    @property
    def lock(self) -> Path:
        """Locked by the process as long as it lives."""
        return self.path / "lock"
