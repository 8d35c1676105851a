"""What a request tells while it goes on: a line for each step, a bar, one object at the end."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import msgspec
from rich.console import Console

from optimizer.serve.job import Job
from optimizer.serve.watch_command import Bar
from reoptimization.outcome import Code, Outcome


class Teller:
    """Tells of each step in a line."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """Hand each line to `write`."""
        self._write = write

    def say(self, text: str) -> None:
        """Tell of a step."""
        self._write(text)

    @contextmanager
    def following(self) -> Iterator[Callable[[Job], None]]:
        """Give what shows how far a job is: a line for each stage."""
        stage = ""

        def tell(job: Job) -> None:
            nonlocal stage
            if job.progress.stage not in ("", stage):
                stage = job.progress.stage
                self.say(f"job {job.id}: {stage}")

        yield tell

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """Give what shows how a trial stands: a line where other words come, not other numbers."""
        last = ""

        def tell(text: str) -> None:
            nonlocal last
            words = "".join(c for c in text if not c.isdigit())
            if words != last:
                last = words
                self.say(text)

        yield tell


class Narrator(Teller):
    """Tells people on standard output, or, with JSON, on standard error."""

    def __init__(
        self,
        *,
        is_json: bool,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin; `clock` is Unix time."""
        super().__init__(self._note)
        self._is_json = is_json
        self._out = sys.stdout if out is None else out
        self._steps = sys.stderr if is_json else self._out
        self._clock = clock
        self._console = Console(stderr=True)
        self._told: list[dict[str, Any]] = []

    @property
    def _is_live(self) -> bool:
        return self._console.is_terminal and not self._is_json

    @contextmanager
    def following(self) -> Iterator[Callable[[Job], None]]:
        """Give what shows how far a job is: a bar on a terminal, else a line for each stage."""
        if self._is_live:
            with Bar(self._console) as bar:
                yield bar.show
        else:
            with super().following() as tell:
                yield tell

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """Give what shows how a trial stands: on a terminal as it goes, else each new word."""
        if self._is_live:
            with self._console.status("on trial") as status:
                yield status.update
        else:
            with super().waiting() as tell:
                yield tell

    def end(self, outcome: Outcome) -> None:
        """Tell how it ended; what stopped it goes to standard error."""
        if self._is_json or outcome.code in (Code.DONE, Code.ROLLED_BACK, Code.LATE):
            self.say(outcome.text)
        else:
            sys.stderr.write(f"error: {outcome.text}\n")
        if not self._is_json:
            return
        told = {
            "outcome": outcome.word,
            "exit_code": int(outcome.code),
            "text": outcome.text,
            **outcome.facts,
            "steps": self._told,
        }
        self._out.write(msgspec.json.encode(told).decode() + "\n")
        self._out.flush()

    def _note(self, text: str) -> None:
        now = self._clock()
        self._told.append({"at_s": now, "text": text})
        self._steps.write(f"{time.strftime('%H:%M:%S', time.localtime(now))}  {text}\n")
        self._steps.flush()
