"""What a selection leaves in a run's history, line by line, and how it goes on from there."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from headtail.errors import ConfigError
from optimizer.freeze.config import FreezeConfig
from optimizer.freeze.individual import FreezeIndividual
from optimizer.freeze.selection import FreezeGeneration
from optimizer.progress import Advance
from optimizer.run_folder import HISTORY, RunFolder


class FreezeStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a selection: whose individuals follow."""

    digest: str
    """Of the recipe's section, the seed, the network with its weights, and the data."""
    layers: tuple[str, ...]
    """Names in the order of the masks."""
    flops_per_s: float
    """Speed behind the predicted energies, given or measured."""


@dataclass(frozen=True, slots=True)
class FreezeHistory:
    """What a history tells of a selection, finished or not."""

    start: FreezeStart | None = None
    individuals: Mapping[str, FreezeIndividual] = field(default_factory=dict)
    """By mask, in the order in which they were judged."""
    generations: tuple[FreezeGeneration, ...] = ()


def read_freeze_history(path: Path) -> FreezeHistory:
    """Read what a run's history says of its selection; lines of other stages are passed over.

    Raises:
        ConfigError: If a whole line cannot be read; names it.
    """
    start: FreezeStart | None = None
    individuals: dict[str, FreezeIndividual] = {}
    generations: list[FreezeGeneration] = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            record: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
            event = record.pop("event", None)
            if event == "freeze":
                start = msgspec.convert(record, FreezeStart)
            elif event == "freeze_individual":
                record.pop("generation")
                individual = msgspec.convert(record, FreezeIndividual)
                individuals[individual.mask] = individual
            elif event == "freeze_generation":
                generations.append(msgspec.convert(record, FreezeGeneration))
        except (msgspec.DecodeError, KeyError) as error:
            raise ConfigError(
                str(path),
                f"line {number} cannot be read: {error}; delete the folder to start over",
            ) from error
    return FreezeHistory(start, individuals, tuple(generations))


def continue_freeze_history(folder: RunFolder, digest: str) -> FreezeHistory:
    """Return what an earlier attempt at the same selection left in the folder.

    Raises:
        ConfigError: If the history cannot be read, or is of another selection.
    """
    folder.cut_torn_line()
    path = folder.path / HISTORY
    history = read_freeze_history(path) if path.exists() else FreezeHistory()
    if history.start is not None and history.start.digest != digest:
        raise ConfigError(
            str(path),
            "holds the selection of another network, recipe, seed or data; name another folder",
        )
    return history


class FreezeHistoryWriter:
    """Writes a selection's history, each thing once however often it goes on, and shows progress.

    Satisfies `selection.Watcher`.
    """

    def __init__(
        self,
        config: FreezeConfig,
        folder: RunFolder | None,
        advance: Advance,
        earlier: FreezeHistory,
    ) -> None:
        """Begin where an earlier attempt ended.

        Args:
            config: What is selected.
            folder: Whose history is written; None writes none.
            advance: What shows the progress, counted in passes over the training windows.
            earlier: What the history holds already.
        """
        self._config = config
        self._folder = folder
        self._advance = advance
        self._written = set(earlier.individuals)
        self._generations = len(earlier.generations)
        self._best: float | None = None
        self._done = 0
        self._generation = 0

    def start(self, start: FreezeStart) -> None:
        """Write the first line."""
        self._append("freeze", start)

    def individual(self, generation: int, individual: FreezeIndividual) -> None:
        """Write a mask that has been judged."""
        self._best = max(individual.score, -math.inf if self._best is None else self._best)
        if individual.mask not in self._written:
            self._written.add(individual.mask)
            self._append("freeze_individual", individual, generation=generation)

    def advance(self, done: int, generation: int) -> None:
        """Move the bar."""
        self._done, self._generation = done, generation
        self.passed(0)

    def passed(self, epochs: int) -> None:
        """Move the bar by passes of the individual in training."""
        each = self._config.train.epochs
        total = self._config.population * (self._config.generations + 1)
        best = "" if self._best is None else f", best {self._config.select} {self._best:.3f}"
        note = f"generation {self._generation} of {self._config.generations}{best}"
        self._advance(min(self._done * each + epochs, total * each), total * each, note)

    def generation(self, record: FreezeGeneration) -> None:
        """Write one generation's figures."""
        if record.generation >= self._generations:
            self._append("freeze_generation", record)

    def _append(self, event: str, record: msgspec.Struct, **more: object) -> None:
        if self._folder is not None:
            plain: dict[str, object] = msgspec.to_builtins(record)
            self._folder.append({"event": event, **more, **plain})


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a history."""
    try:
        yield from path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
