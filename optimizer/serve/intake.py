"""What a job's process writes, brought into the store: its events and its lines."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from optimizer.progress_event import (
    Event,
    Progressed,
    RunFailed,
    RunFinished,
    Said,
    StageBegun,
    StageEnded,
    decode_event,
)
from optimizer.serve.folder import JobFolder
from optimizer.serve.job import Progress
from optimizer.serve.spent_output import release
from optimizer.serve.store import JobStore

READ_BYTES = 256 << 10
"""Most that is read of a file at once; also the longest line, whole or cut."""
MAX_LINE = 1000
"""Characters of a line that are kept."""
RELEASE_BYTES = 16 << 20
"""After so many more bytes that were read of a file their space is given back."""


@dataclass(slots=True)
class _Batch:
    """What was read at once."""

    lines: list[str] = field(default_factory=list)
    progress: Progress | None = None
    ending: RunFailed | RunFinished | None = None

    def take(self, event: Event) -> None:
        """Add an event."""
        match event:
            case StageBegun(stage):
                self.progress = Progress(stage)
            case Progressed(stage, done, total, note):
                self.progress = Progress(stage, max(0, done), max(0, total), one_line(note))
            case StageEnded(stage, seconds):
                self.lines.append(f"{stage:<28} {seconds:6.1f} s")
            case Said(text):
                self.lines += text.splitlines() or [""]
            case RunFailed() | RunFinished():
                self.ending = event


class Intake:
    """Reads on where it stopped; what was read, and how far, is stored in one transaction."""

    def __init__(
        self, store: JobStore, most_lines: int, clock: Callable[[], float] = time.time
    ) -> None:
        """Keep the last `most_lines` lines of each job; `clock` is Unix time, in seconds."""
        self._store = store
        self._most_lines = most_lines
        self._clock = clock

    def read(self, job: str, folder: JobFolder, *, is_over: bool = False) -> bool:
        """Bring in what is new; return whether there was anything.

        Args:
            job: Whose.
            folder: Where it lies.
            is_over: Whether nothing more will come, so that a last line without an end counts.

        Raises:
            JobNotFound: If there is no such job.
        """
        found = False
        while self._read_some(job, folder, is_over=is_over):
            found = True
        return found

    def say(self, job: str, text: str) -> None:
        """Add a line of the service's own to a job's log."""
        with self._store.transaction():
            self._add(job, [text])

    def _read_some(self, job: str, folder: JobFolder, *, is_over: bool) -> bool:
        with self._store.transaction():
            row = self._store.row(job)
            events, events_end = _new_lines(folder.events, row["events_bytes"], is_over)
            output, output_end = _new_lines(folder.output, row["output_bytes"], is_over)
            before = row["events_bytes"], row["output_bytes"]
            if (events_end, output_end) == before:
                return False
            batch = _Batch()
            for line in events:
                event = decode_event(line)
                if event is None:
                    batch.lines.append(line.decode("utf-8", "replace"))
                else:
                    batch.take(event)
            batch.lines += [line.decode("utf-8", "replace") for line in output]
            self._store.execute(
                "UPDATE jobs SET events_bytes = ?, output_bytes = ? WHERE id = ?",
                events_end,
                output_end,
                job,
            )
            self._store_batch(job, batch)
        ends = (folder.events, before[0], events_end), (folder.output, before[1], output_end)
        for path, start, end in ends:
            if end // RELEASE_BYTES > start // RELEASE_BYTES:
                release(path, end)
        return True

    def _store_batch(self, job: str, batch: _Batch) -> None:
        self._add(job, [line for line in batch.lines if line.strip()])
        if batch.progress is not None:
            at = batch.progress
            self._store.execute(
                "UPDATE jobs SET stage = ?, done = ?, total = ?, note = ? WHERE id = ?",
                one_line(at.stage),
                at.done,
                at.total,
                at.note,
                job,
            )
        if isinstance(batch.ending, RunFinished):
            self._store.execute(
                "UPDATE jobs SET bundle = ?, digest = ?, error = '' WHERE id = ?",
                PurePath(batch.ending.bundle).name,
                batch.ending.digest,
                job,
            )
        elif isinstance(batch.ending, RunFailed):
            error = one_line(batch.ending.error)
            self._store.execute("UPDATE jobs SET error = ? WHERE id = ?", error, job)

    def _add(self, job: str, lines: list[str]) -> None:
        row, now = self._store.row(job), self._clock()
        last = row["lines"] + len(lines)
        for number, text in enumerate(
            lines[-self._most_lines :], last + 1 - len(lines[-self._most_lines :])
        ):
            self._store.execute(
                "INSERT INTO lines (job, number, time_s, text) VALUES (?, ?, ?, ?)",
                row["number"],
                number,
                now,
                one_line(text),
            )
        self._store.execute("UPDATE jobs SET lines = ? WHERE id = ?", last, job)
        self._store.execute(
            "DELETE FROM lines WHERE job = ? AND number <= ?",
            row["number"],
            last - self._most_lines,
        )


def one_line(text: str) -> str:
    """Return a text that neither begins a line of its own nor drives a terminal, not too long."""
    clean = "".join(c if c.isprintable() else " " for c in text).rstrip()
    return clean if len(clean) <= MAX_LINE else clean[: MAX_LINE - 1] + "…"


def _new_lines(path: Path, offset: int, is_over: bool) -> tuple[list[bytes], int]:
    """Return the whole lines after `offset` and where they end; one too long is cut."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < offset:
                offset = 0  # an older service emptied it
            file.seek(offset)
            data = file.read(READ_BYTES)
    except FileNotFoundError:
        return [], offset
    end = len(data) if is_over or len(data) == READ_BYTES else data.rfind(b"\n") + 1
    if len(data) == READ_BYTES and b"\n" in data:
        end = data.rfind(b"\n") + 1
    return data[:end].splitlines(), offset + end
