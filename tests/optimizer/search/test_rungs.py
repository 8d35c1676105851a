"""Rungs: who goes on to a longer training, whose score counts, and that a kill changes nothing."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from search_case import CONFIG, Quiet, changed, problem, score, terms

from optimizer.candidate import Candidate
from optimizer.network import Genome
from optimizer.recipe.search import Goal, SearchConfig
from optimizer.run_folder import HISTORY, RunFolder
from optimizer.search.genome_cost import assess
from optimizer.search.history import SearchHistoryWriter, continue_history, read_history
from optimizer.search.individual import Individual
from optimizer.search.record import SearchRecord
from optimizer.search.search import Problem, search
from optimizer.search.training import Scores, SearchTraining

RUNGS = changed(rungs=(2, 6, 20), population=10, generations=6)
GOALS: tuple[Goal, ...] = ("accuracy", "edge_energy")


class Killed(Exception):
    """The process is gone."""


class Trainer:
    """Scores by a formula that more passes change; knows what it was given."""

    def __init__(self, kill_after: int | None = None) -> None:
        """Begin with nothing trained."""
        self.trained: list[Candidate] = []
        self.kill_after = kill_after

    def evaluate(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Scores]]:
        """Yield the scores in order, until it is killed."""
        for i, candidate in enumerate(candidates):
            if len(self.trained) == self.kill_after:
                raise Killed
            self.trained.append(candidate)
            reached = score(candidate.genome) * (1 - 1 / (2 + candidate.epochs))
            reached += 0.05 * math.sin(candidate.epochs * sum(candidate.genome.channels))
            yield i, (reached, reached / 2)


def asked(trainer: Trainer, config: SearchConfig = RUNGS) -> Problem:
    """Return the small problem with a trainer that knows of passes."""
    return dataclasses.replace(problem(trainer, config), goals=GOALS)


@pytest.mark.parametrize("keep", [0.5, 0.3, 0.01, 1.0])
def test_better_share_goes_on_and_the_last_score_is_kept(keep: float) -> None:
    """Of every generation's new networks, rounded up; none is trained at a rung twice."""
    trainer, watcher = Trainer(), Quiet()
    found = search(asked(trainer, msgspec.structs.replace(RUNGS, keep=keep)), 3, watcher)
    assert len(trainer.trained) == len(set(trainer.trained))
    told = [(g, i) for g, i in watcher.individuals if i.score is not None]
    assert len(told) == len(trainer.trained)
    for generation in range(len(found.generations)):
        below = [i for g, i in told if g == generation and i.epochs == 2]
        for before, epochs in ((2, 6), (6, 20)):
            here = [i for g, i in told if g == generation and i.epochs == epochs]
            assert len(here) == math.ceil(keep * len(below))
            least = min((i.score for i in below if i.key in {h.key for h in here}), default=0)
            assert all(i.score <= least for i in below if i.key not in {h.key for h in here})
            assert {i.epochs for i in below} <= {before}
            below = here
    last = {i.key: i for _, i in told}
    assert all(last[i.key] == i for i in (*found.finalists, *found.front))
    assert found.generations[-1].trained == len(last)
    assert [i.score for i in found.finalists] == sorted(
        (i.score for i in last.values()), reverse=True
    )[: CONFIG.finalists]


def test_of_equal_scores_the_longer_trained_is_first() -> None:
    """So what stopped early never outranks on a tie."""

    class Level(Trainer):
        def evaluate(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Scores]]:
            for i, _ in super().evaluate(candidates):
                yield i, (0.5, 0.5)

    found = search(asked(Level()), 3, Quiet())
    assert {20} == {i.epochs for i in found.finalists}


def test_with_several_objectives_the_front_goes_on() -> None:
    """A cheap network is not stopped for its score."""
    config = msgspec.structs.replace(RUNGS, objectives=GOALS, keep=0.25)
    waiting = [
        Individual((64, 16), (1, n), assess(Genome((64, 16), (1, n), 3), terms()))
        for n in range(1, 9)
    ]

    class ByChannels(Trainer):
        def evaluate(self, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Scores]]:
            for i, _ in super().evaluate(candidates):
                dearest = candidates[i].genome.channels[1]
                yield i, (0.5 + 0.1 * (dearest == 8), 0.5)

    trainer = ByChannels()
    training = SearchTraining(config, 3, trainer.evaluate, {}, Quiet())
    scored = training.halve(waiting, 0, 0)
    assert {1, 8} == {i.channels[1] for i in scored if i.epochs > 2}
    assert [i.key for i in waiting] == [i.key for i in scored]


def test_zero_shot_finalists_get_the_longest_training() -> None:
    """Theirs is the only one."""
    trainer = Trainer()
    found = search(asked(trainer, msgspec.structs.replace(RUNGS, method="flops")), 3, Quiet())
    assert [20] * CONFIG.finalists == [c.epochs for c in trainer.trained]
    assert {20} == {i.epochs for i in found.finalists}


def test_progress_never_falls_and_ends_at_the_last_individual() -> None:
    """Those that stop are done, those that go on are not."""
    watcher = Quiet()
    search(asked(Trainer()), 3, watcher)
    assert sorted(watcher.done) == watcher.done
    assert RUNGS.population * (RUNGS.generations + 1) == watcher.done[-1]


def run(folder: Path, kill_after: int | None = None) -> tuple[SearchRecord, int]:
    """Search in a folder, going on where an earlier attempt ended; return the trainings done."""
    earlier = continue_history(RunFolder(folder), GOALS, 7)
    trainer = Trainer(kill_after)
    writer = SearchHistoryWriter(RUNGS, RunFolder(folder), lambda *_: None, earlier)
    again = dataclasses.replace(asked(trainer), restored=earlier.scores)
    found = search(again, 7, writer)
    writer.found(found.winner)
    return found, len(trainer.trained)


def test_history_cut_anywhere_is_continued_to_the_same_end(tmp_path: Path) -> None:
    """In the middle of a rung too; what is in it is not trained again."""
    whole, again = tmp_path / "whole", tmp_path / "again"
    whole.mkdir()
    again.mkdir()
    expected, trainings = run(whole)
    content = (whole / HISTORY).read_bytes()
    history = read_history(whole / HISTORY)
    assert trainings == len(history.scores) > len(history.individuals)
    assert expected.front == history.front
    assert expected.winner == history.winner
    for size in range(0, len(content), len(content) // 15):
        (again / HISTORY).write_bytes(content[:size])
        known = len(read_history(again / HISTORY).scores)
        assert (expected, trainings - known) == run(again)
        assert content == (again / HISTORY).read_bytes()


def test_search_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    """Each attempt trains seven networks more."""
    whole, again = tmp_path / "whole", tmp_path / "again"
    whole.mkdir()
    again.mkdir()
    expected, _ = run(whole)
    for _ in range(4):
        with pytest.raises(Killed):
            run(again, 7)
    assert expected == run(again)[0]
    assert (whole / HISTORY).read_bytes() == (again / HISTORY).read_bytes()


@pytest.mark.parametrize("rungs", [(6, 2), (2, 2), (1, 5, 5)])
def test_rungs_that_do_not_rise_are_refused(rungs: tuple[int, ...]) -> None:
    """Each one trains for longer."""
    with pytest.raises(ValueError, match="rungs must become more, received"):
        SearchConfig(rungs=rungs)
