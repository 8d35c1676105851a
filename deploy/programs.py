"""Our programs as processes: started, waited for by what they log, and stopped whatever happens."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 15.0


class ProgramFailed(Exception):
    """A program ended, or stayed silent, before it said what was waited for."""


@dataclass(frozen=True, slots=True)
class Program:
    """A started program and the file its output goes to."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def text(self) -> str:
        """All it has said."""
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, pattern: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """Return the first group of `pattern` once a line of the log matches it.

        Raises:
            ProgramFailed: If that does not happen in time.
        """
        stop = time.monotonic() + timeout_s
        while time.monotonic() < stop:
            is_over = self.process.poll() is not None
            if match := re.search(pattern, self.text, re.MULTILINE):
                return match[1]
            if is_over:
                break
            time.sleep(0.01)
        raise ProgramFailed(f"{self.log} never said /{pattern}/:\n{self.text}")


@contextmanager
def running(command: Sequence[str | Path], log: Path, core: int | None = None) -> Iterator[Program]:
    """Run a command; one without a folder is looked for beside this Python.

    Args:
        command: Program and arguments.
        log: Takes standard output and standard error.
        core: CPU core to pin it to; None leaves it free.
    """
    name, *arguments = command
    path = name if Path(name).is_absolute() else BIN / name
    with log.open("wb") as file:
        process = subprocess.Popen([path, *arguments], stdout=file, stderr=subprocess.STDOUT)
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    try:
        yield Program(process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
