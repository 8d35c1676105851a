"""One thread that starts jobs where there is room, follows their processes and settles their ends.

What runs and what waits is in the store alone, so that a service that is killed and started again
goes on where it was: a process that still runs is followed again, one that is gone is started anew
in its own folder, where the run resumes.
"""

import logging
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import ConfigError, RequestInvalid
from headtail.files import write_file
from optimizer.serve import process as processes
from optimizer.serve.capacity import Grant, Machine
from optimizer.serve.changes import Changes
from optimizer.serve.folder import JobFolder
from optimizer.serve.intake import Intake
from optimizer.serve.job import Job
from optimizer.serve.process import JobProcess
from optimizer.serve.store import JobStore

log = logging.getLogger(__name__)

Command = Callable[[Job, JobFolder], Sequence[str]]
"""Returns what is run for a job: a program and its arguments."""
POLL_S, IDLE_S, MEMORY_S = 0.2, 5.0, 1.0
"""Time between two looks at what runs, at what waits, and at the memory that is used."""
MOST_KILLS, KILL_S = 100, 0.02
FAULTS = (sqlite3.Error, OSError)
"""What a disk that is full or away brings."""
STALL_S = 60.0
"""A round that takes longer is stuck."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How jobs are treated."""

    machine: Machine
    crashes: int
    """How often a process may end without a word before its job has failed."""
    kept: int
    """Jobs that are kept."""
    stop_s: float
    """Longest time between SIGTERM and SIGKILL."""


@dataclass(slots=True)
class _Run:
    """A job whose process is followed."""

    job: str
    grant: Grant
    folder: JobFolder
    process: JobProcess
    looked_at: float = 0.0
    """When its memory was last measured, in seconds of the monotonic clock."""
    told_at: float | None = None
    """When it was asked to end."""
    fault: str = ""
    """Why the service ended it."""


class Scheduler:
    """Runs the jobs of a store."""

    def __init__(
        self,
        store: JobStore,
        folder: Path,
        terms: Terms,
        command: Command,
        intake: Intake,
        changes: Changes,
    ) -> None:
        """Find what still runs; nothing new is started before `start`.

        Args:
            store: The jobs.
            folder: Where each job has a folder of its own.
            terms: How they are treated.
            command: What is run for a job.
            intake: Brings in what processes write.
            changes: Told of every change.
        """
        self._store = store
        self._folder = folder
        self._terms = terms
        self._command = command
        self._intake = intake
        self._changes = changes
        self._runs: dict[str, _Run] = {}
        self._wake = threading.Event()
        self._is_stopping = False
        self._round_at = time.monotonic()
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._recover()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once: a job was sent or cancelled."""
        self._wake.set()

    def folder(self, job: str) -> JobFolder:
        """Return the folder of a job."""
        return JobFolder(self._folder / job)

    def grants(self) -> list[Grant]:
        """Return what running jobs have."""
        return [run.grant for run in list(self._runs.values())]

    def check(self) -> str | None:
        """Return how long the thread has not come round, where that is too long."""
        since = time.monotonic() - self._round_at
        return None if since < STALL_S else f"the scheduler has not come round for {since:.0f} s"

    def close(self) -> None:
        """Stop: processes are ended, and their jobs wait for the service to be there again."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        give_up_at = time.monotonic() + self._terms.stop_s
        for run in self._runs.values():
            run.process.terminate()
        while any(run.process.is_alive() for run in self._runs.values()):
            if time.monotonic() >= give_up_at:
                break
            time.sleep(0.02)
        try:
            for run in list(self._runs.values()):
                self._settle(run)
        except FAULTS as error:  # the next start finds these jobs running, and their processes not
            log.error("jobs cannot be settled: %s", error)

    def _loop(self) -> None:
        while not self._is_stopping:
            self._wake.wait(POLL_S if self._runs else IDLE_S)
            self._wake.clear()
            self._round_at = time.monotonic()
            try:
                self._round()
            except FAULTS as error:
                # A full disk, most likely: everything is tried again in the next round.
                log.error("jobs cannot be followed: %s", error)

    def _round(self) -> None:
        for run in list(self._runs.values()):
            if self._is_stopping:
                return
            self._attend(run)
        self._start_queued()
        self._tidy()

    def _attend(self, run: _Run) -> None:
        is_alive = run.process.is_alive()
        if self._intake.read(run.job, run.folder):
            self._changes.announce()
        if not is_alive:
            self._settle(run)
            return
        now = time.monotonic()
        if run.told_at is None and self._store.get(run.job).is_cancel_requested:
            run.told_at = now
            run.process.terminate()
        elif run.told_at is not None and now - run.told_at >= self._terms.stop_s:
            run.process.kill()
        if now - run.looked_at >= MEMORY_S:
            run.looked_at = now
            self._check_memory(run)

    def _check_memory(self, run: _Run) -> None:
        used = run.process.memory_bytes()
        if used > run.grant.memory_bytes and not run.fault:
            run.fault = (
                f"used {used >> 20} MiB of memory and asked for {run.grant.memory_bytes >> 20} MiB"
            )
            run.process.kill()

    def _settle(self, run: _Run) -> None:
        """Decide what becomes of a job whose process is over; whatever it left behind is ended."""
        for _ in range(MOST_KILLS):  # one that was just forked may have been missed
            if not run.process.kill():
                break
            time.sleep(KILL_S)
        self._intake.read(run.job, run.folder, is_over=True)
        row, code = self._store.row(run.job), run.process.exit_code
        if row["digest"] and (run.folder.run / row["bundle"]).is_file():
            self._store.succeed(run.job, row["bundle"], row["digest"])
        elif row["is_cancel_requested"]:
            self._store.cancel(run.job)
        elif run.fault or row["error"]:
            self._store.fail(run.job, run.fault or row["error"])
        elif code is not None and code >= 0 and not self._is_stopping:
            self._store.fail(run.job, self._last_words(run.job, code))
        else:
            self._requeue(run, code)
        self._runs.pop(run.job, None)
        self._wake.set()
        job = self._store.get(run.job)
        log.info("job %s: %s%s", job.id, job.state.value, f": {job.error}" if job.error else "")
        self._changes.announce()

    def _requeue(self, run: _Run, code: int | None) -> None:
        is_crash = not self._is_stopping and run.job in self._runs
        how = "" if code is None else f" by {signal.Signals(-code).name}" if code < 0 else ""
        crashes = self._store.row(run.job)["crashes"] + is_crash
        if crashes > self._terms.crashes:
            self._store.fail(run.job, f"its process ended {crashes} times without a word{how}")
            return
        why = f"the process was ended{how}" if is_crash else "the service was stopped"
        self._intake.say(run.job, f"{why}; the run goes on from where it was")
        self._store.requeue(run.job, is_crash=is_crash)

    def _last_words(self, job: str, code: int) -> str:
        last = self._store.get(job).lines
        words = [line.text for line in self._store.lines(job, max(0, last - 1))]
        return f"ended with exit code {code}" + "".join(f": {text}" for text in words)

    def _start_queued(self) -> None:
        for job in self._store.queued():
            try:
                wanted = self._terms.machine.fill(job.resources)
            except RequestInvalid as error:  # there was more when it was sent
                self._store.fail(job.id, str(error))
                self._changes.announce()
                continue
            grant = self._terms.machine.grant(wanted, self.grants())
            if grant is None or self._is_stopping:
                return  # whoever came first goes first: what is large is not overtaken for ever
            if self._store.start(job.id, grant):
                self._launch(self._store.get(job.id), grant)

    def _launch(self, job: Job, grant: Grant) -> None:
        folder = self.folder(job.id)
        where = f"cores {', '.join(map(str, grant.cores))}"
        where += f", GPUs {', '.join(map(str, grant.gpus))}" if grant.gpus else ""
        try:
            write_file(folder.recipe, self._store.recipe(job.id), 0o640)
            process = processes.start(folder, self._command(job, folder), grant)
        except (OSError, ConfigError) as error:
            self._store.fail(job.id, f"cannot be started: {error}")
        else:
            self._runs[job.id] = _Run(job.id, grant, folder, process)
            self._intake.say(job.id, f"attempt {job.attempts} on {where}")
            log.info("job %s: attempt %d on %s", job.id, job.attempts, where)
        self._changes.announce()

    def _recover(self) -> None:
        for job, grant in self._store.running():
            folder = self.folder(job.id)
            run = _Run(job.id, grant, folder, JobProcess(folder))
            if run.process.is_alive():
                log.info("job %s: still runs", job.id)
                self._runs[job.id] = run
            else:
                self._settle(run)

    def _tidy(self) -> None:
        """Delete the oldest jobs: files first, so that a kill in between leaves no stray ones."""
        for job in self._store.oldest_over(self._terms.kept):
            shutil.rmtree(self.folder(job).path, ignore_errors=True)
            self._store.delete(job)
            log.info("job %s: deleted, for more than %d are kept", job, self._terms.kept)
