"""Where results go: one JSON line each, to a file or to standard output."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from edge_agent.result import Result, encode_line
from headtail.errors import ConfigError

Existing = Literal["refuse", "append", "overwrite"]
STDOUT = "stdout"


class LineSink:
    """Writes each batch of results with one call, whole lines only."""

    def __init__(self, file: BinaryIO, bundle: str, where: str) -> None:
        """Write to an open binary file; `bundle` is the digest each line names."""
        self._file = file
        self._bundle = bundle
        self._where = where

    def take(self, results: Sequence[Result]) -> None:
        """Write and flush.

        Raises:
            ConfigError: If the file cannot be written.
        """
        try:
            self._file.write(b"".join([encode_line(r, self._bundle) for r in results]))
            self._file.flush()
        except OSError as error:
            raise ConfigError(self._where, f"cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._where != STDOUT:
            self._file.close()


def is_stdout(text: str) -> bool:
    """Return whether a `--sink` takes standard output."""
    return text == STDOUT


def open_sink(text: str, bundle: str, existing: Existing, stdout: BinaryIO) -> LineSink:
    """Open `jsonl:PATH` or `stdout`.

    An append first cuts off a last line that a crash left incomplete.

    Raises:
        ConfigError: If `text` names no sink, or the file exists and `existing` says "refuse", or it
            cannot be opened.
    """
    if is_stdout(text):
        return LineSink(stdout, bundle, STDOUT)
    kind, _, name = text.partition(":")
    if kind != "jsonl" or not name:
        raise ConfigError("--sink", f"expected jsonl:PATH or stdout, received '{text}'")
    try:
        return LineSink(_open(Path(name), existing), bundle, text)
    except FileExistsError as error:
        raise ConfigError(
            "--sink", f"'{name}' exists; say --existing append or --existing overwrite"
        ) from error
    except OSError as error:
        raise ConfigError(
            "--sink", f"'{name}' cannot be opened: {error.strerror or error}"
        ) from error


def _open(path: Path, existing: Existing) -> BinaryIO:
    if existing == "append" and path.exists():
        file = path.open("r+b")
        file.truncate(_end_of_lines(file))
        file.seek(0, os.SEEK_END)
        return file
    return path.open("wb" if existing == "overwrite" else "xb")


def _end_of_lines(file: BinaryIO) -> int:
    """Return the size of a file without its last line, where that lacks its newline."""
    block = 1 << 16
    at = file.seek(0, os.SEEK_END)
    while at > 0:
        start = max(0, at - block)
        file.seek(start)
        newline = file.read(at - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0
