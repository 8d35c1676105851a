"""Where results go: a line of JSON each in a file or on standard output, or a row in a database.

A sink that is a file holds each sequence once: it knows the highest that it has, and takes no
result that is not above it. Standard output cannot know, and is best effort.
"""

import io
import os
import select
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import msgspec

from edge_agent.result import Result, encode_lines, most_bytes
from headtail.errors import ConfigError
from headtail.files import sync_folder

Existing = Literal["refuse", "append", "overwrite"]
STDOUT = "stdout"
LINES, DATABASE = "jsonl", "sqlite"
NONE = -1
"""The highest sequence of a sink that has none."""


class Sink(Protocol):
    """Takes results in order, from one thread."""

    @property
    def highest(self) -> int:
        """The highest sequence it holds; -1 where there is none."""
        ...

    def take(self, results: Sequence[Result]) -> None:
        """Write results whose sequence is above the highest; a killed process loses none.

        Raises:
            ConfigError: If the sink cannot be written.
        """
        ...

    def is_prompt(self, results: Sequence[Result]) -> bool:
        """Return whether `take` would return at once with these results, whoever reads the sink."""
        ...

    def sync(self) -> int:
        """Put what was taken on the disk; return the size in bytes of the file up to there."""
        ...

    def close(self) -> None:
        """Close what was opened."""
        ...


class StdoutSink:
    """Writes each batch of results with one call, whole lines only."""

    highest = NONE

    def __init__(self, file: BinaryIO, bundle: str) -> None:
        """Write to an open binary file; `bundle` is the digest each line names."""
        self._file = file
        self._bundle = bundle
        self._poll = _pipe_poll(file)

    def take(self, results: Sequence[Result]) -> None:
        """Write and flush."""
        try:
            self._file.write(encode_lines(results, self._bundle))
            self._file.flush()
        except OSError as error:
            raise _unwritable(STDOUT, error) from error

    def is_prompt(self, results: Sequence[Result]) -> bool:
        """Return whether a pipe has room; a terminal may be held up, and a disk be slow."""
        if self._poll is None or most_bytes(results) > select.PIPE_BUF:
            return False
        return any(event == select.POLLOUT for _, event in self._poll.poll(0))

    def sync(self) -> int:
        """Do nothing: a terminal or pipe keeps nothing."""
        return 0

    def close(self) -> None:
        """Leave standard output open."""


def _pipe_poll(file: BinaryIO) -> "select.poll | None":
    """Return what tells whether a pipe takes PIPE_BUF bytes without a wait; None for others."""
    try:
        descriptor = file.fileno()
    except (OSError, ValueError):  # it is no file of the system's
        return None
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll


class LineSink:
    """A file of lines, written without a buffer: what `take` has written outlives the process."""

    def __init__(
        self, path: Path, bundle: str, existing: Existing, known_bytes: int | None = None
    ) -> None:
        """Open the file, and cut off what is no whole line at its end.

        Args:
            path: The file.
            bundle: Digest that each line names.
            existing: What to do with a file that is there.
            known_bytes: Size up to which it is known to be whole; what follows is checked.
                None: only the last line is.

        Raises:
            OSError: If it cannot be opened, or exists and `existing` says "refuse".
        """
        self._where = f"{LINES}:{path}"
        self._bundle = bundle
        mode = {"refuse": "x+", "overwrite": "w+"}.get(existing, "r+")
        if existing == "append" and not path.exists():
            mode = "x+"
        self._file = io.FileIO(path, mode)
        sync_folder(path.parent)
        self._size, self.highest = _whole_lines(self._file, known_bytes)
        self._file.truncate(self._size)
        self._file.seek(self._size)

    def take(self, results: Sequence[Result]) -> None:
        """Write whole lines; where the disk is full, leave none that is torn."""
        fresh = [r for r in results if r.sequence > self.highest]
        if not fresh:
            return
        lines = encode_lines(fresh, self._bundle)
        content = memoryview(lines)
        try:
            while content:
                content = content[self._file.write(content) or 0 :]
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise _unwritable(self._where, error) from error
        self._size += len(lines)
        self.highest = results[-1].sequence

    def is_prompt(self, results: Sequence[Result]) -> bool:
        """Return False: a disk may be slow at any time."""
        return False

    def sync(self) -> int:
        """Wait for the disk."""
        size = self._size
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self._where, error) from error
        return size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def is_stdout(text: str) -> bool:
    """Return whether a `--sink` takes standard output."""
    return text == STDOUT


def parse_sink(text: str) -> tuple[str, Path]:
    """Split KIND:PATH of a sink that is a file.

    Raises:
        ConfigError: If the kind is unknown or the path is missing.
    """
    kind, _, name = text.partition(":")
    if kind not in {LINES, DATABASE} or not name:
        raise ConfigError(
            "--sink", f"expected jsonl:PATH, sqlite:PATH or stdout, received '{text}'"
        )
    return kind, Path(name)


def open_sink(
    text: str, bundle: str, existing: Existing, stdout: BinaryIO, known_bytes: int | None = None
) -> Sink:
    """Open `jsonl:PATH`, `sqlite:PATH` or `stdout`.

    An append first cuts off a last line that a crash left incomplete.

    Raises:
        ConfigError: If `text` names no sink, or the file exists and `existing` says "refuse", or it
            cannot be opened.
    """
    if is_stdout(text):
        return StdoutSink(stdout, bundle)
    kind, path = parse_sink(text)
    try:
        if kind == LINES:
            return LineSink(path, bundle, existing, known_bytes)
        from edge_agent.sinks_sqlite import DatabaseSink

        return DatabaseSink(path, bundle, existing)
    except FileExistsError as error:
        raise ConfigError(
            "--sink", f"'{path}' exists; say --existing append or --existing overwrite"
        ) from error
    except OSError as error:
        raise ConfigError(
            "--sink", f"'{path}' cannot be opened: {error.strerror or error}"
        ) from error


class _Sequence(msgspec.Struct):
    """Only what makes a line one of ours."""

    sequence: int


def _whole_lines(file: io.FileIO, known_bytes: int | None) -> tuple[int, int]:
    """Return up to where a file is whole, and the sequence of the last line there.

    Where power failed, what was not on the disk may be torn or zeros, and not only at the end: all
    lines after `known_bytes` are looked at.
    """
    end = file.seek(0, os.SEEK_END)
    if known_bytes is None or known_bytes > end:  # unknown, or another file by now
        known_bytes = _line_start(file, end)
    highest = NONE
    if known_bytes:
        file.seek(_line_start(file, known_bytes - 1))
        sequence = _sequence(file.read(known_bytes - file.tell()))
        highest = NONE if sequence is None else sequence
    file.seek(known_bytes)
    size = known_bytes
    with os.fdopen(file.fileno(), "rb", closefd=False) as lines:
        for line in lines:
            sequence = _sequence(line)
            if sequence is None or sequence <= highest:
                break
            size, highest = size + len(line), sequence
    return size, highest


def _sequence(line: bytes) -> int | None:
    """Return the sequence of a whole line of ours; None of anything else."""
    try:
        return msgspec.json.decode(line, type=_Sequence).sequence if line[-1:] == b"\n" else None
    except msgspec.MsgspecError:
        return None


def _line_start(file: io.FileIO, end: int) -> int:
    """Return where the line begins that holds the byte before `end`."""
    block = 1 << 16
    at = end
    while at > 0:
        start = max(0, at - block)
        file.seek(start)
        newline = file.read(at - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0


def _unwritable(where: str, error: OSError) -> ConfigError:
    return ConfigError(where, f"cannot be written: {error.strerror}")
