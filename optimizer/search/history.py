"""The history of a search, `history.jsonl`: one line for each thing that happened, as it happened.

A line that a kill tore in the middle can only be the last one; it is left out when the history is
read and cut off before it is continued. From the history alone an interrupted search goes on, and
every figure of a finished one is drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from headtail.errors import ConfigError
from optimizer.progress import Advance
from optimizer.recipe.search import Goal, SearchConfig
from optimizer.run_folder import HISTORY, RunFolder
from optimizer.search.archive import Archive
from optimizer.search.individual import Individual, NetworkKey
from optimizer.search.record import GenerationRecord
from optimizer.search.training import Scores, TrainingKey

NO_SCORE = -1.0


@dataclass(frozen=True, slots=True)
class SearchHistory:
    """What a history tells of a search, finished or not."""

    goals: tuple[Goal, ...]
    """What the front is about."""
    generations: tuple[GenerationRecord, ...]
    individuals: tuple[Individual, ...]
    """Every network once, in the order in which all was known of it."""
    front: tuple[Individual, ...]
    """The networks that no other surpasses in every goal."""
    hypervolume: tuple[float, ...]
    """After each generation."""
    winner: Individual | None = None
    """What was chosen at the end, as it was last judged; None before the search is over."""
    scores: Mapping[TrainingKey, Scores] = field(default_factory=dict)
    """Of every training: a network that came to several rungs has several."""


def read_history(path: Path) -> SearchHistory:
    """Read what the history of a run says of its search; lines of other stages are passed over.

    Raises:
        ConfigError: If a line but the last cannot be read; names it.
    """
    goals: tuple[Goal, ...] = ("accuracy",)
    individuals: dict[NetworkKey, Individual] = {}
    generations: dict[int, GenerationRecord] = {}
    winner: Individual | None = None
    scores: dict[TrainingKey, Scores] = {}
    for number, line in enumerate(_lines(path), start=1):
        try:
            record: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
            event = record.pop("event", None)
            if event == "search":
                goals = msgspec.convert(record["goals"], tuple[Goal, ...])
            elif event == "individual":
                record.pop("generation")
                individual = msgspec.convert(record, Individual)
                individuals.pop(individual.key, None)  # known from an earlier rung
                individuals[individual.key] = individual
                if individual.score is not None and individual.final_score is not None:
                    both = individual.score, individual.final_score
                    scores[individual.key, individual.epochs] = both
            elif event == "generation":
                generation = msgspec.convert(record, GenerationRecord)
                generations[generation.generation] = generation
            elif event == "found":
                winner = msgspec.convert(record["winner"], Individual)
        except (msgspec.DecodeError, KeyError) as error:
            raise ConfigError(
                str(path),
                f"line {number} cannot be read: {error}; delete the folder to start over",
            ) from error
    archive = Archive(goals)
    archive.add(individuals.values())
    told = tuple(generations[number] for number in sorted(generations))
    volumes = tuple(record.hypervolume for record in told)
    last = tuple(individuals.values())
    return SearchHistory(goals, told, last, archive.front, volumes, winner, scores)


class SearchHistoryWriter:
    """Writes a search's history, each thing once however often it goes on, and shows progress."""

    def __init__(
        self,
        config: SearchConfig,
        folder: RunFolder,
        advance: Advance,
        earlier: SearchHistory | None = None,
    ) -> None:
        """Begin where an earlier attempt ended.

        Args:
            config: What is searched.
            folder: Whose history is written.
            advance: What shows the progress.
            earlier: What the history holds already.
        """
        self._config = config
        self._folder = folder
        self._advance = advance
        self._written: set[tuple[NetworkKey, int | None]] = set()
        if earlier:
            self._written.update(earlier.scores)
            self._written.update((i.key, None) for i in earlier.individuals)
        self._generations = len(earlier.generations) if earlier else 0
        self._winner = earlier.winner if earlier else None
        self._best = NO_SCORE
        self._generation = 0
        self._front = 0

    def individual(self, generation: int, individual: Individual) -> None:
        """Write a network when all is known of it, or when a rung has scored it."""
        if individual.score is not None:
            self._best = max(self._best, individual.score)
        name = individual.key, None if individual.score is None else individual.epochs
        if name not in self._written:
            self._written.add(name)
            line = {"event": "individual", "generation": generation, **_plain(individual)}
            self._folder.append(line)

    def advance(self, done: int) -> None:
        """Move the bar."""
        best = "no network within the bounds yet"
        if self._best > NO_SCORE:
            best = f"best {self._config.select} {self._best:.3f}, front {self._front}"
        total = self._config.population * (self._config.generations + 1)
        note = f"generation {self._generation} of {self._config.generations}, {best}"
        self._advance(min(done, total), total, note)

    def generation(self, record: GenerationRecord) -> None:
        """Write one generation's figures."""
        self._generation, self._front = record.generation + 1, record.front
        if record.generation >= self._generations:
            self._folder.append({"event": "generation", **_plain(record)})

    def found(self, winner: Individual) -> None:
        """Write what the search ends with."""
        if winner != self._winner:
            self._winner = winner
            self._folder.append({"event": "found", "winner": _plain(winner)})


def continue_history(folder: RunFolder, goals: tuple[Goal, ...], seed: int) -> SearchHistory:
    """Return what an earlier attempt left in the folder; a new history gets its first line.

    Raises:
        ConfigError: If the history cannot be read.
    """
    path = folder.path / HISTORY
    folder.cut_torn_line()
    is_new = not path.exists() or not any(_is_search(line) for line in _lines(path))
    if is_new:
        folder.append({"event": "search", "seed": seed, "goals": list(goals)})
    return read_history(path)


def _is_search(line: bytes) -> bool:
    return line.startswith(b'{"event":"search"')


def _lines(path: Path) -> list[bytes]:
    """Return the whole lines of a history."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error


def _plain(record: msgspec.Struct) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(record)
    return plain
