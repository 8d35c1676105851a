"""Evaluations in processes on this machine: none lost, none twice, no process left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import pytest
from executor_work import Stillborn, Work, surroundings
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import SearchError, ShapeMismatch
from optimizer.executor.item import SINGLE_THREAD, ItemFailed
from optimizer.executor.local import LocalExecutor

DEADLINE_S = 300  # of a test on a machine with other work; one that hangs fails
# A program started in the background ignores SIGINT, and so do its children: not this one.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from executor_work import Work
from optimizer.executor.local import LocalExecutor
list(LocalExecutor(2).run(Work(Path(sys.argv[1]), blocks=0), [0, 0]))
"""


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """Fail a test that hangs."""

    def fail(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TimeoutError(f"test takes more than {DEADLINE_S} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(DEADLINE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    with closing(LocalExecutor(2)) as opened:
        yield opened


def test_every_item_is_evaluated_once(executor: LocalExecutor, tmp_path: Path) -> None:
    work = Work(tmp_path)
    pairs = list(executor.run(work, range(30)))
    assert 30 == len(pairs) == len(list(tmp_path.iterdir()))
    assert work.expected(30) == dict(pairs)
    assert os.getpid() not in work.pids()


def test_workers_stay_for_the_next_run_with_the_same_function(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    work = Work(tmp_path)
    for _ in range(3):
        assert work.expected(10) == dict(executor.run(work, range(10)))
    assert len(work.pids()) <= 2


def test_another_function_is_brought_to_the_workers(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    first, second = Work(tmp_path), Work(tmp_path)
    second.data[1] = 7
    assert first.expected(4) == dict(executor.run(first, range(4)))
    assert second.expected(4) == dict(executor.run(second, range(4)))


def test_no_items_start_no_worker(executor: LocalExecutor, tmp_path: Path) -> None:
    assert [] == list(executor.run(Work(tmp_path), []))


def test_killed_worker_loses_no_item(executor: LocalExecutor, tmp_path: Path) -> None:
    work = Work(tmp_path, deaths={3: 1, 4: 2, 11: 1})
    pairs = list(executor.run(work, range(12)))
    assert 12 == len(pairs)
    assert work.expected(12) == dict(pairs)
    attempts = {i: len(list(tmp_path.glob(f"{i}.*"))) for i in range(12)}
    assert {i: 1 + work.deaths.get(i, 0) for i in range(12)} == attempts


def test_item_that_kills_three_workers_is_named(executor: LocalExecutor, tmp_path: Path) -> None:
    work = Work(tmp_path, deaths={5: 3})
    with pytest.raises(SearchError, match=r"^item 5, 5: its worker died 3 times, .* by SIGKILL$"):
        list(executor.run(work, range(8)))


def test_function_that_kills_its_workers_at_the_start_is_an_error(executor: LocalExecutor) -> None:
    with pytest.raises(SearchError, match="3 workers died as they started, the last one by SIGK"):
        list(executor.run(Stillborn(), range(8)))


def test_our_error_comes_with_its_class_and_text(executor: LocalExecutor, tmp_path: Path) -> None:
    text = r"^item: expected shape \(1\), received \(6\)$"
    with pytest.raises(ShapeMismatch, match=text):
        list(executor.run(Work(tmp_path, refuses=6), range(8)))


def test_any_other_exception_comes_with_the_workers_traceback(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    with pytest.raises(ItemFailed, match=r"(?s)executor_work\.py.*ZeroDivisionError: never asked"):
        list(executor.run(Work(tmp_path, breaks=6), range(8)))


def test_executor_goes_on_after_an_error(executor: LocalExecutor, tmp_path: Path) -> None:
    work = Work(tmp_path, breaks=20)
    with pytest.raises(ItemFailed):
        list(executor.run(work, range(22)))
    assert work.expected(9) == dict(executor.run(work, range(9)))


def test_abandoned_run_leaves_nothing_for_the_next(executor: LocalExecutor, tmp_path: Path) -> None:
    work = Work(tmp_path, blocks=2)
    run = executor.run(work, [1, 2, 3, 2])
    assert {0: work.expected(2)[1]} == dict([next(run)])
    run.close()
    assert work.expected(2) == dict(executor.run(work, range(2)))


def test_workers_are_replaced_after_so_many_items(tmp_path: Path) -> None:
    work = Work(tmp_path)
    with closing(LocalExecutor(1, recycle=3)) as executor:
        assert work.expected(10) == dict(executor.run(work, range(10)))
    assert 4 == len(work.pids())


def test_worker_has_one_thread_and_loads_nothing_of_its_own(executor: LocalExecutor) -> None:
    [(_, (environment, libraries))] = executor.run(surroundings, [0])
    assert dict(SINGLE_THREAD) == {name: environment[name] for name in SINGLE_THREAD}
    assert [] == libraries


def test_worker_that_hangs_up_and_goes_on_is_killed(
    executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.executor.local.GRACE_S", 0.1)
    work = Work(tmp_path, deafens=2)
    with pytest.raises(SearchError, match=r"^item 2, 2: its worker died 3 times, .* by SIGKILL$"):
        list(executor.run(work, range(3)))
    _wait_until(lambda: not any(_is_running(pid) for pid in work.pids("2.*")))


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_program_leaves_no_worker(sign: signal.Signals, tmp_path: Path) -> None:
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    ) as program:
        work = Work(tmp_path)
        try:
            _wait_until(lambda: len(work.pids()) == 2)
            program.send_signal(sign)
            assert -sign == program.wait(DEADLINE_S / 4)
        finally:
            program.kill()
    _wait_until(lambda: not any(_is_running(pid) for pid in work.pids()))


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(
    st.dictionaries(st.integers(0, 5), st.integers(1, 2), max_size=3),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_any_schedule_of_deaths_yields_each_item_once(
    deaths: dict[int, int], workers: int, recycle: int
) -> None:
    with TemporaryDirectory() as folder, closing(LocalExecutor(workers, recycle)) as executor:
        work = Work(Path(folder), deaths=deaths)
        pairs = list(executor.run(work, range(6)))
    assert 6 == len(pairs)
    assert work.expected(6) == dict(pairs)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S / 4
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
