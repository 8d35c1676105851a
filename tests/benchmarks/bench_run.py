"""One run over all tasks: servers started for each, measured in turn, recorded and told of."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from crowd import SWITCH_INTERVAL_S, Crowd
from lanes import BARE, BATCHING, Lane, Start, all_started
from machine import describe_machine, own_versions, today
from measure import BATCHED, BATCHED_TASK, EIGHT, LOADS, ONE, Blocks
from paired import known
from record import Record, task_record
from tasks import RECIPES, Recipe, Task, make_task


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


class Progress:
    """How far a run is, told in whole percent with the time that is left."""

    def __init__(self, minutes: float, weights: Sequence[float]) -> None:
        """Share the minutes between tasks of these weights."""
        self.start_s = time.monotonic()
        self._end_s = self.start_s + 60 * minutes
        self._weights = list(weights)
        self._told = -1

    def budget_s(self, task: int) -> float:
        """Return how long the task with this index may take from now on."""
        left = self._weights[task:]
        return max(0.0, self._end_s - time.monotonic()) * left[0] / sum(left)

    def tell(self, task: int, share: float, text: str) -> None:
        """Say how far the run is when `share` of a task is over, unless it said so before."""
        total = sum(self._weights)
        done = (sum(self._weights[:task]) + share * self._weights[task]) / total
        percent = int(100 * done)
        if percent == self._told:
            return
        self._told = percent
        spent_s = time.monotonic() - self.start_s
        left_s = spent_s * (1 / done - 1) if done > 0.02 else self._end_s - time.monotonic()
        left_s = max(0.0, left_s)
        say(f"{percent:3} %, about {left_s / 60:.1f} min left: {text}")


def pin() -> tuple[int, int]:
    """Pin this process to the first core it may use; return it and the servers' core.

    From then on SIGTERM ends it as an error does, so that no server is left behind.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[0]})
    return allowed[0], allowed[-1]


def run_tasks(
    servers: Sequence[tuple[str, Start]],
    minutes: float,
    cores: tuple[int, int],
    recipes: Sequence[Recipe] = RECIPES,
    save: Callable[[Record], object] = lambda record: None,
) -> Record:
    """Measure every task over every server that can run here, and return the record.

    Args:
        servers: Names and what starts them.
        minutes: For all tasks together; three rounds of each are made whatever they take.
        cores: The clients' and the servers'.
        recipes: What is measured.
        save: Given the record after each task.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    tasks = [make_task(recipe, say) for recipe in recipes]
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    record: Record = {
        "date": today(),
        "machine": describe_machine(),
        "versions": {"headtail": own_versions()},
        "skipped": {},
        "tasks": [],
    }
    progress = Progress(minutes, [task.weight for task in tasks])
    with Crowd() as crowd:
        for i, task in enumerate(tasks):
            made, has_died = _run_task(task, i, servers, cores, crowd, progress, record)
            if has_died:
                say(f"a server ended by itself: {task.name} once more")
                made, _ = _run_task(task, i, servers, cores, crowd, progress, record)
            record["tasks"].append(made)
            record["seconds"] = round(time.monotonic() - progress.start_s)
            save(record)
    return record


def _run_task(
    task: Task,
    index: int,
    servers: Sequence[tuple[str, Start]],
    cores: tuple[int, int],
    crowd: Crowd,
    progress: Progress,
    record: Record,
) -> tuple[Record, bool]:
    """Measure one task; return what was found and whether a server ended by itself."""
    began_s = time.monotonic()
    budget_s = progress.budget_s(index)
    loads = [*LOADS, *([BATCHED] if task.name == BATCHED_TASK else [])]
    progress.tell(index, 0.0, f"{task.name}, starting the servers")
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headtail-bench-")))
        started = stack.enter_context(all_started(task, servers, work, cores[1]))
        for name, reason in started.skipped.items():
            if name not in record["skipped"]:
                record["skipped"][name] = reason
                say(f"skipped: {name}: {reason}")
        lanes = [lane for lane in started.lanes if _is_wanted(lane, task)]
        blocks = Blocks(task, lanes, crowd)
        blocks.prove()

        def tick(share: float) -> None:
            progress.tell(index, share, f"{task.name}, {len(blocks.lanes)} lanes")

        rounds = blocks.run(loads, budget_s - (time.monotonic() - began_s), tick)
        described = {
            "name": task.name,
            "about": task.about,
            "activation_bytes": task.activation_bytes,
            "left_out": blocks.failed,
            "lost_blocks": blocks.failures,
        }
        for text in blocks.failures:
            say(f"lost a block at {task.name}: {text}")
        for name, reason in blocks.failed.items():
            say(f"left out at {task.name}: {name}: {reason}")
        made = task_record(described, blocks.results, rounds, blocks.peaks())
    _say_task(made)
    return made, blocks.has_died


def _is_wanted(lane: Lane, task: Task) -> bool:
    """Leave second lanes to a server out where the tail takes all the time."""
    is_second = lane.name in {"headtail unary", "Triton unary", BARE, BATCHING}
    return task.weight <= 1 or not is_second


def _say_task(made: Record) -> None:
    """Print a task's medians."""
    say(f"  {made['name']}, {made['activation_bytes']} bytes, {made['rounds']} rounds:")
    one, eight = made["loads"].get(ONE.name, {}), made["loads"].get(EIGHT.name, {})
    for lane, series in one.items():
        found = series.get("latency_us")
        if not found:
            continue
        rate = sorted(known(eight.get(lane, {}).get("rate", []))) or [0.0]
        say(
            f"    {lane:24} p50 {found['p50']:9.0f} us, p99 {found['p99']:9.0f} us,"
            f" 8 in flight {rate[len(rate) // 2]:7.0f}/s"
        )
