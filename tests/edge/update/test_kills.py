"""The agent killed at every step of an update: it ends with the right bundle, each window once."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edge_agent.update.state import read_state
from headtail.v1.control_pb2 import UPDATE_STATE_DONE as DONE
from headtail.v1.control_pb2 import UPDATE_STATE_TRIAL as TRIAL

WINDOWS = 6000
TIMEOUT_S = 300.0
RANDOM_KILLS = 6
STEPS = (
    ("fetch", "test", "load", "switch", "switched", "trial"),
    ("confirm", "confirmed"),
)
"""One after another; a bundle on trial may be started three times without a verdict."""
BACK = (("switched", "roll back", "rolled back"), ("switched",))
"""The last run starts with the bundle before, or goes back to it and on."""
# The agent, killed by itself at the step that the first argument names; windows come slowly while
# an update is under way, and end once there is none.
MAIN = """
import os, signal, sys, time
from functools import partial
from pathlib import Path
from edge_agent.sources.npz import NpzSource
from edge_agent.update import rehearsal, session, shadow, shadow_process
from edge_agent.update.state import read_state
from edge_agent.update.updater import Updater

step, folder, target = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
rehearsal.NICENESS = shadow_process.NICENESS = 0

def kill(name):
    if name == step:
        os.kill(os.getpid(), signal.SIGKILL)

def is_over():
    state = read_state(folder)
    if (folder.parent / "over").exists():
        return True
    if state is None or step.startswith("shadow"):
        return False
    return state.failure(target) is not None or (
        state.current.digest == target and not state.is_trial)

def paced(self, limit, all_at_once=NpzSource.batches):
    seen = 0
    for frames in all_at_once(self, limit):
        if not is_over():
            time.sleep(0.01)
            state = read_state(folder)
            seen += state is not None and state.is_trial
            if seen == 3:
                kill("trial")
        yield frames

def killed_before(method, name):
    def wrapped(self, *arguments):
        if name == step == "shadow runs":
            (folder.parent / "shadow").write_text(str(arguments[-1]._process.pid))
        kill(name)
        return method(self, *arguments)
    return wrapped

shadow.ShadowFile.obtain = killed_before(shadow.ShadowFile.obtain, "shadow begins")
shadow.Shadows._run_again = killed_before(shadow.Shadows._run_again, "shadow runs")
shadow.ShadowProcess.wait_ready = killed_before(shadow.ShadowProcess.wait_ready, "shadow loads")
NpzSource.batches = paced
session.Updater = partial(Updater, step=kill)
from edge_agent.cli import main
sys.exit(main(sys.argv[4:]))
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory, model_folder):
    """Return windows, some of them bad in the end, and what the uncut model says of each."""
    windows = np.random.default_rng(9).standard_normal((WINDOWS, 16, 2)).astype(np.float32)
    whole = ort.InferenceSession(
        model_folder / "chain" / "whole.onnx", providers=["CPUExecutionProvider"]
    )

    def write(bad: float | None):
        if bad is not None:
            windows[:, 0, 0] = bad
        path = tmp_path_factory.mktemp("many") / "many.npz"
        np.savez(path, x=windows)
        return path, whole.run(["y"], {"x": windows})[0]

    return write


@pytest.fixture
def agent(run_agent, tmp_path):
    """Return a function that runs the agent until a step kills it, and returns its exit status."""
    settings = run_agent.settings
    folder = tmp_path / "state"

    def start(
        step: str,
        target: str,
        source: Path,
        fogs: tuple[str, ...],
        after_s: float = TIMEOUT_S,
        update_windows: int = 8,
    ) -> int:
        words = [f"--fog={fog}" for fog in fogs]
        command = [
            sys.executable, "-c", MAIN, step, str(folder / "updates"), target,
            "run", "--bundle", settings["bundle"], "--trust", settings["trust"],
            "--source", f"npz:{source}", "--sink", f"jsonl:{tmp_path / 'out.jsonl'}",
            "--state", str(folder), "--updates", "on", "--update-windows", str(update_windows),
            "--update-slow-ratio", "1000", "--batch", "2", "--view", "off", *words,
        ]  # fmt: skip
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                text = process.communicate(timeout=after_s)[1]
            except subprocess.TimeoutExpired:
                process.kill()
                text = process.communicate()[1]
        assert process.returncode in {0, -signal.SIGKILL}, text
        return process.returncode

    return start


def check(expected: np.ndarray, sink: Path) -> list[dict[str, object]]:
    """Check that each window came once, in order, with the right result; return the lines."""
    lines = [json.loads(line) for line in sink.read_text().splitlines()]
    assert list(range(WINDOWS)) == [line["sequence"] for line in lines]
    np.testing.assert_allclose(expected, [line["output"] for line in lines], rtol=1e-4, atol=1e-6)
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("steps", STEPS)
def test_killed_at_each_step_of_a_good_update(
    many, agent, director, two_fogs, good_path, bundle, tmp_path, steps
):
    """Each run is killed a step later; the last one is left alone."""
    source, expected = many(None)
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest)
    statuses = [agent(step, digest, source, fogs) for step in steps]
    statuses.append(agent("", digest, source, fogs))
    assert [-signal.SIGKILL] * len(steps) + [0] == statuses
    lines = check(expected, tmp_path / "out.jsonl")
    assert {bundle.digest, digest} == {line["bundle"] for line in lines}
    assert digest == lines[-1]["bundle"]
    state = read_state(tmp_path / "state" / "updates")
    assert (digest, bundle.digest) == (state.current.digest, state.previous.digest)
    assert not state.is_trial


@pytest.mark.slow
@pytest.mark.parametrize("steps", BACK)
def test_killed_at_each_step_of_going_back(
    many, agent, director, two_fogs, bad_path, bundle, tmp_path, steps
):
    """Windows of the trial are answered by the bundle before, after the restarts too."""
    source, expected = many(1000.0)
    path = bad_path("nan")
    fogs = two_fogs(path)
    digest = director.add(path)
    director.direct(digest)
    statuses = [agent(step, digest, source, fogs) for step in steps]
    statuses.append(agent("", digest, source, fogs))
    assert [-signal.SIGKILL] * len(steps) + [0] == statuses
    lines = check(expected, tmp_path / "out.jsonl")
    assert {bundle.digest} == {line["bundle"] for line in lines}
    state = read_state(tmp_path / "state" / "updates")
    assert (bundle.digest, [digest]) == (state.current.digest, [f.digest for f in state.failed])


@pytest.mark.slow
def test_killed_while_a_bundle_is_found_unfit(
    many, agent, director, two_fogs, bad_path, bundle, tmp_path
):
    """It is tested once more, and then remembered; no window ever saw it."""
    source, expected = many(None)
    path = bad_path("outputs")
    fogs = two_fogs()
    digest = director.add(path)
    director.direct(digest)
    statuses = [agent(step, digest, source, fogs) for step in ("test", "fail", "")]
    assert [-signal.SIGKILL] * 2 + [0] == statuses
    lines = check(expected, tmp_path / "out.jsonl")
    assert {bundle.digest} == {line["bundle"] for line in lines}
    state = read_state(tmp_path / "state" / "updates")
    assert (bundle.digest, [digest]) == (state.current.digest, [f.digest for f in state.failed])
    assert state.files == {p.stem for p in (tmp_path / "state" / "updates").glob("*.bundle")}


@pytest.mark.slow
def test_killed_while_a_bundle_on_trial_is_withdrawn(
    many, agent, director, two_fogs, good_path, bundle, tmp_path
):
    """The fog's word is for the bundle before, after the restart too; it is no failure."""
    source, expected = many(None)
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest)

    def take_back() -> None:
        wait_for(lambda: director.is_told(TRIAL, digest))
        director.direct(bundle.digest)
        wait_for(lambda: director.is_told(DONE, bundle.digest))
        (tmp_path / "state" / "over").touch()

    thread = threading.Thread(target=take_back)
    thread.start()
    statuses = [
        agent(step, digest, source, fogs, update_windows=WINDOWS) for step in ("withdraw", "")
    ]
    thread.join()
    assert [-signal.SIGKILL, 0] == statuses
    lines = check(expected, tmp_path / "out.jsonl")
    assert {bundle.digest, digest} >= {line["bundle"] for line in lines}
    assert bundle.digest == lines[-1]["bundle"]
    state = read_state(tmp_path / "state" / "updates")
    assert (bundle.digest, False, ()) == (state.current.digest, state.is_trial, state.failed)


@pytest.mark.slow
def test_killed_while_answers_are_compared(
    many, agent, director, two_fogs, good_path, bad_path, bundle, tmp_path
):
    """The update stands, the other bundle's process ends with the agent, its file goes at last."""
    source, expected = many(None)
    fogs = two_fogs(good_path)
    digest, other = director.add(good_path), director.add(bad_path("nan"))
    director.direct(digest, shadow_digest=other, shadow_ratio=1.0)
    statuses = [
        agent(f"shadow {step}", digest, source, fogs) for step in ("begins", "loads", "runs")
    ]
    process = Path("/proc") / (tmp_path / "state" / "shadow").read_text() / "cmdline"
    wait_for(lambda: not is_there(process))
    statuses.append(agent("", digest, source, fogs))
    assert [-signal.SIGKILL] * 3 + [0] == statuses
    lines = check(expected, tmp_path / "out.jsonl")
    assert digest == lines[-1]["bundle"]
    folder = tmp_path / "state" / "updates"
    state = read_state(folder)
    assert (digest, bundle.digest, False, ()) == (
        state.current.digest, state.previous.digest, state.is_trial, state.failed
    )  # fmt: skip
    assert not (folder / "shadow").exists()


def is_there(process: Path) -> bool:
    """Return whether a process, given by its command line, is another bundle's still."""
    try:
        return b"shadow_process" in process.read_bytes()
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    stop_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < stop_s, "waited too long"
        time.sleep(0.01)


@pytest.mark.slow
def test_bundle_that_never_comes_to_a_verdict_gives_way(
    many, agent, director, two_fogs, good_path, bundle, tmp_path
):
    """A program that ends again and again during the trial goes back by itself."""
    source, expected = many(None)
    fogs = two_fogs(good_path)
    digest = director.add(good_path)
    director.direct(digest)
    statuses = [agent(step, digest, source, fogs) for step in ("trial", "trial", "trial", "")]
    assert [-signal.SIGKILL] * 3 + [0] == statuses
    lines = check(expected, tmp_path / "out.jsonl")
    assert bundle.digest == lines[-1]["bundle"]
    state = read_state(tmp_path / "state" / "updates")
    assert "no verdict after 3 starts" in state.failed[0].reason


@pytest.mark.slow
def test_killed_at_random_moments(
    many, agent, director, two_fogs, good_path, bad_path, bundle, tmp_path
):
    """Whichever bundle is right in the end, the state, the files and the last line agree."""
    source, expected = many(None)
    fogs = two_fogs(good_path)
    digest, other = director.add(good_path), director.add(bad_path("nan"))
    director.direct(digest, shadow_digest=other, shadow_ratio=1.0)
    rng = random.Random(5)
    for _ in range(RANDOM_KILLS):
        if agent("", digest, source, fogs, after_s=rng.uniform(0.3, 5.0)) == 0:
            break
    else:
        assert 0 == agent("", digest, source, fogs)
    lines = check(expected, tmp_path / "out.jsonl")
    folder = tmp_path / "state" / "updates"
    state = read_state(folder)
    assert not state.is_trial
    assert state.current.digest == lines[-1]["bundle"]
    assert state.current.digest == (bundle.digest if state.failed else digest)
    assert state.files == {path.stem for path in folder.glob("*.bundle")}
