"""Progress on the terminal: one line per finished stage, a bar while something long goes on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int, int, str], None]
"""Called as (done, total, note) while a stage goes on."""


class Reporter(Protocol):
    """Who is told how a run goes."""

    def say(self, text: str) -> None:
        """Show one line."""

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """Show that a stage goes on until the block ends, and how long it took."""


class StageClock:
    """A reporter that passes all on to another, and keeps how long each stage took.

    Attributes:
        seconds: By the stage's name; of stages of one name the sum.
    """

    def __init__(self, reporter: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the reporter and the clock to measure with."""
        self.seconds: dict[str, float] = {}
        self._reporter = reporter
        self._clock = clock

    def say(self, text: str) -> None:
        """Show one line."""
        self._reporter.say(text)

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """Show that a stage goes on until the block ends; note how long it took."""
        began = self._clock()
        with self._reporter.stage(name) as advance:
            yield advance
        self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - began


class Terminal:
    """A reporter that writes to a rich console: live bars on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the console to write to and the clock to measure with."""
        self._console = console
        self._clock = clock

    def say(self, text: str) -> None:
        """Show one line, without rich's markup."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[Advance]:
        """Show a bar with the time left while the block runs, then one line with the time taken."""
        began = self._clock()
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as bars:
            task = bars.add_task(name, total=None, note="")

            def advance(done: int, total: int, note: str) -> None:
                bars.update(task, completed=done, total=total, note=note)

            yield advance
        self.say(f"{name:<28} {self._clock() - began:6.1f} s")
