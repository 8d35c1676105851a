"""The real service and real runs, killed: the same bundle at the end."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import serve_case
from run_case import PROGRAM, SECONDS, write_recipe
from serve_case import marked, request

from optimizer.serve.client import JobsClient
from optimizer.serve.job import Job, Request, State

STAGES = """
[train]
epochs = 2
[partition]
device_profile = "stm32l476-paper"
link_profile = "ble-paper"
"""


class Program:
    """A running job service."""

    def __init__(self, *words: object) -> None:
        """Start it and read its log until it serves."""
        self._process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(serve_case.__file__).parent)},
        )
        self.log = ""
        while not (match := re.search(r"serving on (\S+)\n", self.log)):
            line = self._process.stderr.readline()
            assert line, f"it ended: {self.log}"
            self.log += line
        self.address = match[1]

    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self._process.poll() is None

    def end(self, number: int) -> int:
        """Send a signal and return the exit code."""
        self._process.send_signal(number)
        with self._process:
            self.log += self._process.communicate(timeout=SECONDS)[1]
        return self._process.returncode


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Write a recipe and its data; return the recipe's path."""
    return write_recipe(tmp_path, STAGES, seed=5, windows=600)


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Return a function that starts a service; the last is stopped, and its jobs with it."""
    programs: list[Program] = []

    def run(*words: object) -> Program:
        programs.append(Program(*words))
        return programs[-1]

    yield run
    if programs and programs[-1].is_running():
        programs[-1].end(signal.SIGTERM)


def over(client: JobsClient, job: str) -> Job:
    """Return a job once it is over."""
    last = None
    for last, _ in client.watch(job, timeout_s=SECONDS):  # noqa: B007 - the last one is returned
        pass
    return last


@pytest.mark.tf
@pytest.mark.slow
def test_service_and_run_killed_at_random_moments_end_with_the_same_bundle(
    start, recipe, tmp_path, key_folder
) -> None:
    """The digest is that of `optimizer run` without any service."""
    key, rng = key_folder / "test.key", np.random.default_rng()
    serve = ["-m", "optimizer.cli", "serve", "--state", tmp_path / "state", "--key", key]
    serve += ["--paths", tmp_path, "--listen"]
    program = start(*serve, "127.0.0.1:0")
    with closing(JobsClient(program.address, retry_s=SECONDS)) as client:
        job, _ = client.submit(Request("bumps", recipe.read_bytes(), version="1.3"))
        for is_run_killed in (False, True):
            follow(client, job.id, int(rng.integers(1, 4)))
            threading.Event().wait(rng.uniform(0, 2))
            if is_run_killed:
                kill_all(tmp_path / "state")
            assert -signal.SIGKILL == program.end(signal.SIGKILL)
            program = start(*serve, program.address)
        done = over(client, job.id)
        bundle = client.fetch(job.id, "bundle", tmp_path / "out")
        report = client.fetch(job.id, "report.json", tmp_path / "out")
    assert State.SUCCEEDED is done.state, done.error
    assert [] == marked(tmp_path / "state")
    arguments = ["run", str(recipe), "--out", str(tmp_path / "alone"), "--key", str(key)]
    arguments += ["--bundle-version", "1.3"]
    said = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=True)
    assert done.result.digest == said.stdout.split()[-1]
    assert "bumps-1.3.bundle" == bundle.name
    assert bundle.read_bytes() == (tmp_path / "alone" / bundle.name).read_bytes()
    assert json.loads(report.read_bytes())


def test_service_and_small_jobs_killed_at_random_moments_end_well(start, tmp_path) -> None:
    """Three jobs in turn: none is lost, done twice or left behind, and each ends as undisturbed."""
    rng, steps = np.random.default_rng(), 40
    serve = [Path(__file__).with_name("stand_in_service.py"), tmp_path / "state"]
    program = start(*serve, "127.0.0.1:0")
    with closing(JobsClient(program.address, retry_s=SECONDS)) as client:
        sent = [request(f"steps={steps} ms=10", key=f"k{i}") for i in range(3)]
        jobs = [client.submit(r)[0].id for r in sent]
        for _ in range(4):
            threading.Event().wait(rng.uniform(0, 0.4))
            if rng.integers(2):
                kill_all(tmp_path / "state")
            assert -signal.SIGKILL == program.end(signal.SIGKILL)
            program = start(*serve, program.address)
            assert jobs == [client.submit(r)[0].id for r in sent]
        for job in jobs:
            done = over(client, job)
            assert State.SUCCEEDED is done.state, done.error
            history = tmp_path / "state" / "jobs" / job / "run" / "history"
            assert steps == len(history.read_text().splitlines())
            assert done.result.digest == hashlib.sha256(history.read_bytes()).hexdigest()
        assert jobs[::-1] == [job.id for job in client.jobs()]
    assert [] == marked(tmp_path / "state")


def kill_all(state: Path) -> None:
    """Kill every process of a job."""
    for pid in marked(state):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def follow(client: JobsClient, job: str, more: int) -> None:
    """Wait until a job has said so many lines more, or is over."""
    lines = client.job(job).lines + more
    for found, _ in client.watch(job, timeout_s=SECONDS):
        if found.lines >= lines:
            return


def test_service_stops_when_told_and_nothing_is_left(start, tmp_path, key_folder) -> None:
    """Exit code 0, no traceback."""
    key = key_folder / "test.key"
    serve = ["-m", "optimizer.cli", "serve", "--state", tmp_path / "state", "--key", key]
    program = start(*serve, "--listen", "127.0.0.1:0")
    assert 0 == program.end(signal.SIGTERM)
    assert program.log.endswith("stopped\n")
    assert "Traceback" not in program.log
