"""Evaluations on a Ray of our own: workers killed in the middle, none lost, none twice."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs the extra ray")

from executor_work import Work, surroundings

from headtail.errors import SearchError, ShapeMismatch
from optimizer.executor.item import SINGLE_THREAD, ItemFailed
from optimizer.executor.ray import RayExecutor

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    with closing(RayExecutor(2)) as opened:
        yield opened


def test_every_item_is_evaluated_once(executor: RayExecutor, tmp_path: Path) -> None:
    work = Work(tmp_path)
    pairs = list(executor.run(work, range(12)))
    assert 12 == len(pairs) == len(list(tmp_path.iterdir()))
    assert work.expected(12) == dict(pairs)
    assert os.getpid() not in work.pids()


def test_killed_worker_loses_no_item(executor: RayExecutor, tmp_path: Path) -> None:
    work = Work(tmp_path, deaths={3: 1, 4: 2})
    pairs = list(executor.run(work, range(8)))
    assert 8 == len(pairs)
    assert work.expected(8) == dict(pairs)
    attempts = {i: len(list(tmp_path.glob(f"{i}.*"))) for i in range(8)}
    assert {i: 1 + work.deaths.get(i, 0) for i in range(8)} == attempts


def test_item_that_kills_three_workers_is_named(executor: RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"^item 1, 1: its worker died 3 times"):
        list(executor.run(Work(tmp_path, deaths={1: 3}), range(3)))


def test_our_error_comes_with_its_class_and_text(executor: RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(ShapeMismatch, match=r"^item: expected shape \(1\), received \(2\)$"):
        list(executor.run(Work(tmp_path, refuses=2), range(4)))


def test_any_other_exception_comes_with_the_workers_traceback(
    executor: RayExecutor, tmp_path: Path
) -> None:
    with pytest.raises(ItemFailed, match=r"(?s)executor_work\.py.*ZeroDivisionError: never asked"):
        list(executor.run(Work(tmp_path, breaks=2), range(4)))


def test_abandoned_run_leaves_nothing_for_the_next(executor: RayExecutor, tmp_path: Path) -> None:
    work = Work(tmp_path, blocks=2)
    run = executor.run(work, [1, 2, 3, 2])
    assert (0, work.expected(2)[1]) == next(run)
    run.close()
    assert work.expected(2) == dict(executor.run(work, range(2)))


def test_worker_has_one_thread_and_loads_nothing_of_its_own(executor: RayExecutor) -> None:
    [(_, (environment, libraries))] = executor.run(surroundings, [0])
    assert dict(SINGLE_THREAD) == {name: environment[name] for name in SINGLE_THREAD}
    assert not {"tensorflow", "keras", "numba"} & set(libraries)
