"""The choice of an executor, and what all of them share."""

import sys
from pathlib import Path

import msgspec
import pytest
from executor_work import Work
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import ConfigError, SearchError
from optimizer.executor.executor import SerialExecutor, open_executor
from optimizer.executor.item import MAX_DEATHS, Ledger
from optimizer.recipe.executor import ExecutorConfig


def test_serial_executor_goes_through_the_items_in_order(tmp_path: Path) -> None:
    work = Work(tmp_path)
    assert list(work.expected(5).items()) == list(SerialExecutor().run(work, range(5)))


@pytest.mark.parametrize("kind", ["serial", "local"])
def test_kinds_give_the_same_results(kind: str, tmp_path: Path) -> None:
    config = msgspec.convert({"kind": kind, "workers": 2}, ExecutorConfig)
    work = Work(tmp_path)
    with open_executor(config) as executor:
        assert work.expected(5) == dict(executor.run(work, range(5)))


def test_missing_ray_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "optimizer.executor.ray", raising=False)
    with pytest.raises(ConfigError, match=r"needs Ray: pip install 'headtail\[ray\]'$"):
        open_executor(ExecutorConfig("ray"))


def test_nobody_at_the_address_is_an_error() -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    with pytest.raises(ConfigError, match=r"no Ray cluster at '127\.0\.0\.1:1': Connection ref"):
        open_executor(ExecutorConfig("ray", address="127.0.0.1:1"))


def test_address_without_ray_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="address is for kind 'ray'"):
        msgspec.convert({"kind": "local", "address": "here:1"}, ExecutorConfig)


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 6))
def test_ledger_gives_each_item_until_it_is_done_or_too_deadly(
    deaths: list[bool], count: int
) -> None:
    """Workers take and die in any order; each item ends once, or is named at its last death."""
    ledger = Ledger(range(count))
    finished: list[int] = []
    died = dict.fromkeys(range(count), 0)
    schedule = iter(deaths)
    while ledger.is_open:
        index, item = ledger.take()
        assert index == item
        if not next(schedule, False):
            ledger.finish(index)
            finished.append(index)
            continue
        died[index] += 1
        if died[index] == MAX_DEATHS:
            with pytest.raises(SearchError, match=f"^item {index}, {index}: its worker died 3"):
                ledger.worker_died(index, "by SIGKILL")
            return
        ledger.worker_died(index, "by SIGKILL")
    assert list(range(count)) == sorted(finished)
    assert 0 == ledger.waiting
