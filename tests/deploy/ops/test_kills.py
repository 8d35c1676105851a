"""A request that is killed at any step, and made again: the same state at the end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from operating import actions
from ops_site import Site

from optimizer.serve.client import JobsClient

DEPLOY = Path(__file__).parents[3] / "deploy"
# The program with a method in whose place, or after which, it is killed.
KILLED = """
import os, signal, sys
from fog_server.rollout import client as fogs
from optimizer.serve import client as jobs
from reoptimization import cli, course, trial

kind, name, when = sys.argv[1].split()
place = {"jobs": jobs.JobsClient, "fog": fogs.Client, "sent": fogs,
         "course": course, "trial": trial.Trial}[kind]
method = getattr(place, name)

def die(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)

def work_and_die(*arguments, **more):
    result = method(*arguments, **more)
    if when == "midway":
        yield next(result)
    die()

def call_and_die(*arguments, **more):
    method(*arguments, **more)
    die()

made = {"before": die, "after": call_and_die, "midway": work_and_die}
setattr(place, name, made[when])
cli.main(sys.argv[2:])
"""
POINTS = (
    "jobs submit before",
    "jobs submit after",
    "jobs watch midway",
    "jobs fetch after",
    "course read_manifest before",
    "fog publish before",
    "sent _messages midway",
    "fog publish after",
    "fog start_canary before",
    "fog start_canary after",
    "trial verdict before",
)


def kill(point: str, words: list[str]) -> None:
    """Run a request that is killed at a point."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, point, *words],
        env={"PYTHONPATH": str(DEPLOY / "ops")},
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert -signal.SIGKILL == done.returncode, done.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_request_killed_at_a_step_ends_as_one_that_was_not(point, site) -> None:
    """One job, one trial; with --since also where the verdict came before the second command."""
    words = ("make=better", "--since", "1h")
    kill(point, site.words(*words))
    code, told = site.ask(*words)
    assert (0, "promoted") == (code, told["outcome"])
    check_state(site)


def test_request_killed_when_its_trial_began_goes_on_with_it(site) -> None:
    """The one of these that is always run."""
    kill("fog start_canary after", site.words("make=better"))
    code, told = site.ask("make=better", "--since", "1h")
    assert (0, "promoted") == (code, told["outcome"])
    check_state(site)


def check_state(site: Site) -> None:
    """Check what is there after one request that went well."""
    assert {"1.0": "retired", "1.1": "active"} == site.operator.states()
    expected = ["publish", "promote", "publish", "canary", "promote"]
    assert expected == [action for action, _ in actions(site.operator.model())]
    client = JobsClient(site.jobs.address)
    assert 1 == len(client.jobs())
    client.close()
