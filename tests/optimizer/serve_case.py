"""A service's parts around a small program that runs, is killed and goes on as a recipe's run."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from optimizer.serve.capacity import Machine
from optimizer.serve.changes import Changes
from optimizer.serve.folder import JobFolder
from optimizer.serve.intake import Intake
from optimizer.serve.job import Job, Request, Resources
from optimizer.serve.scheduler import Scheduler, Terms
from optimizer.serve.store import JobStore

STAND_IN = Path(__file__).parent / "serve" / "stand_in.py"
TIMEOUT_S = 60.0
RECIPE = """
name = "chain"
version = "1"
task = "{task}"
[network]
lengths = [32, 8]
channels = [1, 2]
"""
GIB = 1 << 30
CORE = min(os.sched_getaffinity(0))


def request(task: str = "steps=3", **fields: object) -> Request:
    """Return a request for a job of the small program."""
    made = Request("chain", RECIPE.format(task=task).encode(), resources=Resources(1, 0, GIB))
    return replace(made, **fields)


def command(_job: Job, folder: JobFolder) -> list[str]:
    """Return how the small program is started."""
    return [sys.executable, str(STAND_IN), str(folder.recipe), str(folder.run)]


def wait_for(condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    """Wait for another thread or process to get somewhere, and fail after a while."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, "waited too long"
        time.sleep(0.005)


def marked(folder: Path) -> list[int]:
    """Return the processes of the job of a folder, or of all jobs below it, from the kernel."""
    mark = b"OPTIMIZER_JOB=" + bytes(folder)
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(v == mark or v.startswith(mark + b"/") for v in variables):
            found.append(int(path.parent.name))
    return found


class Service:
    """Store, intake and scheduler over one folder; it can be started again."""

    def __init__(self, folder: Path, machine: Machine, crashes: int = 2) -> None:
        """Use a folder that may hold the jobs of an earlier one."""
        self.path = folder
        self.store = JobStore(folder / "jobs.sqlite3")
        self.changes = Changes()
        self.left: list[subprocess.Popen[bytes] | None] = []
        self.intake = Intake(self.store, most_lines=50)
        terms = Terms(machine, crashes, kept=5, stop_s=0.5)
        self.scheduler = Scheduler(
            self.store, folder / "jobs", terms, command, self.intake, self.changes
        )

    def abandon(self) -> None:
        """Leave everything as a kill of the service would: nothing is settled, nothing is told."""
        self.scheduler._is_stopping = True
        self.scheduler.wake()
        self.scheduler._thread.join()
        self.left = [run.process._child for run in self.scheduler._runs.values()]
        self.scheduler._runs.clear()

    def close(self) -> None:
        """End everything."""
        self.scheduler.close()
        self.store.close()
        for child in self.left:
            if child is not None:
                child.wait()

    def send(self, task: str, **fields: object) -> str:
        """Queue a job and return its id."""
        job = self.store.add(request(task, **fields), 10)[0].id
        self.scheduler.wake()
        return job

    def cancel(self, job: str) -> None:
        """Ask a job to end."""
        self.store.request_cancel(job)
        self.scheduler.wake()

    def over(self, job: str) -> Job:
        """Return a job once it is over."""
        wait_for(lambda: self.store.get(job).state.is_final)
        return self.store.get(job)

    def text(self, job: str) -> list[str]:
        """Return the lines of a job's log."""
        return [line.text for line in self.store.lines(job)]

    def history(self, job: str) -> Path:
        """Return the file that grows while a job runs."""
        return self.path / "jobs" / job / "run" / "history"
