"""The command `optimizer watch`: a job as it goes on, with a bar on a terminal."""

import argparse
import sys
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from optimizer.serve.client import JobsClient
from optimizer.serve.connection import add_command, exit_code, write_json
from optimizer.serve.job import Job, Line, State
from optimizer.serve.job_text import summary

_EXAMPLES = """\
  optimizer watch ecg-demo-1f3a9c2e
  optimizer watch ecg-demo-1f3a9c2e --timeout-s 3600 --json
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `watch` to the program's commands."""
    summary_text = "show a job's progress and log until it is over"
    parser = add_command(commands, "watch", summary_text, _EXAMPLES, _watch)
    parser.add_argument("job", metavar="JOB", help="id of the job")
    parser.add_argument(
        "--timeout-s", type=float, metavar="S", help="stop watching after so long (default: never)"
    )


def follow(client: JobsClient, job: str, *, is_json: bool, timeout_s: float | None) -> int:
    """Show a job until it is over; return the exit code that says how."""
    if is_json:
        for found, lines in client.watch(job, timeout_s=timeout_s):
            write_json({"job": found, "lines": lines})
        return exit_code(found)
    console = Console(stderr=True)
    with Bar(console) if console.is_terminal else nullcontext() as bar:
        for found, lines in client.watch(job, timeout_s=timeout_s):
            _print(console, bar, lines)
            if bar is not None:
                bar.show(found)
    sys.stderr.write(f"{summary(found)}\n")
    return exit_code(found)


def _watch(client: JobsClient, arguments: argparse.Namespace) -> int:
    timeout_s = arguments.timeout_s
    return follow(client, arguments.job, is_json=arguments.json, timeout_s=timeout_s)


def _print(console: Console, bar: "Bar | None", lines: list[Line]) -> None:
    for line in lines:
        if bar is None:
            sys.stdout.write(f"{line.text}\n")
        else:
            console.print(line.text, markup=False, highlight=False, soft_wrap=True)
    sys.stdout.flush()


class Bar(AbstractContextManager["Bar"]):
    """A bar for the stage that a job is in."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._stage = State.QUEUED.value
        self._task = self._progress.add_task(State.QUEUED, total=None, note="")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def refresh(self) -> None:
        """Draw now."""
        self._progress.refresh()

    def show(self, job: Job) -> None:
        """Show where a job is."""
        at = job.progress
        stage = at.stage if job.state is State.RUNNING and at.stage else job.state.value
        if stage != self._stage:
            self._stage = stage
            self._progress.reset(self._task)
        self._progress.update(
            self._task,
            description=stage,
            completed=at.done,
            total=at.total or None,
            note=at.note if stage == at.stage else "",
        )
