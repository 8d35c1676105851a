"""The history alone tells all of a search, whole or torn in the middle of a line."""

from pathlib import Path
from typing import Any

import pytest
from paper_profiles import PROFILES

from headtail.errors import ConfigError
from headtail.wire import Encoding
from optimizer.candidate import Candidate
from optimizer.partition import Bounds
from optimizer.recipe.recipe import NetworkConfig
from optimizer.recipe.search import SearchConfig
from optimizer.run_folder import HISTORY, RunFolder
from optimizer.search.genome_cost import Terms, assess
from optimizer.search.history import SearchHistoryWriter, continue_history, read_history
from optimizer.search.record import SearchRecord
from optimizer.search.search import Problem, search

GOALS = ("accuracy", "edge_energy")
CONFIG = SearchConfig(
    channels=(1, 2, 3), lengths=(0,), population=10, generations=5, objectives=GOALS
)
TERMS = Terms(PROFILES, Bounds(edge_j=30e-6), "edge_energy", (Encoding.FLOAT32,))


class Killed(Exception):
    """The process is gone."""


def run(folder: Path, kill_after: int | None = None) -> tuple[SearchRecord, list[tuple]]:
    """Search in a folder, going on where an earlier attempt ended; return what was reported too."""
    earlier = continue_history(RunFolder(folder), GOALS, 7)
    trained = 0

    def evaluate(candidates: list[Candidate]) -> Any:
        nonlocal trained
        for i, genome in enumerate(c.genome for c in candidates):
            if trained == kill_after:
                raise Killed
            trained += 1
            score = sum(n * c for n, c in zip(genome.lengths, genome.channels, strict=True))
            yield i, (score % 97 / 97, score % 89 / 89)

    bars: list[tuple] = []
    writer = SearchHistoryWriter(CONFIG, RunFolder(folder), lambda *a: bars.append(a), earlier)
    problem = Problem(
        network=NetworkConfig((64, 16, 32, 4), (1, 1, 1, 1)),
        classes=3,
        config=CONFIG,
        assess=lambda genome: assess(genome, TERMS),
        evaluate=evaluate,
        goals=GOALS,
        restored=earlier.scores,
    )
    record = search(problem, 7, writer)
    writer.found(record.winner)
    return record, bars


def test_history_alone_gives_generations_archive_front_and_volumes(tmp_path: Path) -> None:
    """All that a figure of the search needs."""
    found, bars = run(tmp_path)
    history = read_history(tmp_path / HISTORY)
    assert GOALS == history.goals
    assert found.generations == history.generations
    assert found.front == history.front
    assert [g.hypervolume for g in found.generations] == list(history.hypervolume)
    assert found.generations[-1].known == len(history.individuals)
    assert found.generations[-1].trained == len(history.scores)
    assert found.winner == history.winner
    assert found.winner in history.individuals
    total = CONFIG.population * (CONFIG.generations + 1)
    assert (total, total) == bars[-1][:2]
    assert "generation 5 of 5, best macro_f1 0." in bars[-1][2]
    assert f"front {found.generations[-2].front}" in bars[-1][2]


@pytest.mark.parametrize("kill_after", [0, 1, 3, 4])
def test_interrupted_history_ends_as_the_same_bytes(tmp_path: Path, kill_after: int) -> None:
    """Killed again and again, whole lines or a torn one left behind."""
    whole, again = tmp_path / "whole", tmp_path / "again"
    whole.mkdir()
    again.mkdir()
    expected, _ = run(whole)
    for torn in (b"", b'{"event":"indiv', b'{"event":"generation","generation":0}'):
        with pytest.raises(Killed):
            run(again, kill_after)
        with (again / HISTORY).open("ab") as file:
            file.write(torn)
    found, _ = run(again)
    assert expected == found
    assert (whole / HISTORY).read_bytes() == (again / HISTORY).read_bytes()


def test_history_cut_at_any_byte_is_continued_to_the_same_end(tmp_path: Path) -> None:
    """Every 97th length of the file, as a kill in a write might leave it."""
    whole, again = tmp_path / "whole", tmp_path / "again"
    whole.mkdir()
    again.mkdir()
    expected, _ = run(whole)
    content = (whole / HISTORY).read_bytes()
    for size in range(0, len(content), len(content) // 40):
        (again / HISTORY).write_bytes(content[:size])
        assert expected == run(again)[0]
        assert content == (again / HISTORY).read_bytes()


def test_lines_of_other_stages_are_passed_over(tmp_path: Path) -> None:
    """An epoch is no generation."""
    run(tmp_path)
    before = read_history(tmp_path / HISTORY)
    RunFolder(tmp_path).append({"event": "epoch", "epoch": 1, "loss": 0.5})
    assert before == read_history(tmp_path / HISTORY)


def test_damaged_line_is_named(tmp_path: Path) -> None:
    """In the middle nothing may be missing."""
    run(tmp_path)
    path = tmp_path / HISTORY
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2][:20]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(ConfigError, match=r"history\.jsonl: line 3 cannot be read"):
        read_history(path)


def test_missing_history_is_named(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigError, match=r"history\.jsonl: cannot be read: No such file"):
        read_history(tmp_path / HISTORY)
