"""Fogs that are killed at any moment, and two fogs on one folder: one state for everybody."""

import shutil
import signal
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
from operating import wait_for

from fog_server.rollout.database import Database
from fog_server.rollout.state import State

Status = grpc.StatusCode
X = {"x": np.zeros((1, 16, 2), np.float32)}
# A program that does one thing to the store of a folder and is killed at a given point of it.
KILLED = """
import os, signal, sys
from pathlib import Path
from fog_server.config import Config, Rollout
from fog_server.rollout import vault
from fog_server.server import FogServer

folder, trust, point, bundle = sys.argv[1:]
config = Config(bundles=folder, listen="127.0.0.1:0", trust=trust,
                rollout=Rollout(enabled=True, poll_s=3600.0))
server = FogServer(config)
rollouts = server._control._managed.rollouts

def die(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)

def half(self, file, size_bytes, chunks):
    file.write(next(iter(chunks))[:100])
    file.flush()
    die()

from fog_server.rollout.rollouts import Order, Publication, Ref
order = Order("test")
if point == "receiving":
    vault.Vault._write = half
elif point == "before_placing":
    vault.Vault.place = die
elif point == "after_placing":
    vault.sync_folder = die
elif point == "before_removing":
    vault.Vault.remove = die
if point == "before_removing":
    rollouts.retire(Ref("chain", "2.0"), order, lambda digest: 0)
    rollouts.retire(Ref("chain", "2.0"), order, lambda digest: 0)
else:
    data = Path(bundle).read_bytes()
    rollouts.publish(Publication(len(data)), [data], order)
"""


@pytest.mark.parametrize(
    "point", ["receiving", "before_placing", "after_placing", "before_removing"]
)
def test_killed_fog_starts_again_with_one_state(
    point, template, folder, key_folder, versions, start_managed, operate
):
    """The bundle is there or not, its file with it, and what was asked for can be asked again."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    arguments = [str(folder), str(key_folder / "trust"), point, str(versions["3.0"][0])]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert -signal.SIGKILL == done.returncode
    operator = operate(start_managed().address)
    states = operator.states()
    assert "active" == states["1.0"]
    if point == "before_removing":
        assert "retired" == states["2.0"]
    else:
        assert "3.0" not in states
        assert operator.publish(versions["3.0"][0]).is_new
    kept = {
        versions[b.bundle.version][1]
        for b in operator.model().bundles
        if b.is_stored and b.bundle.version != "1.0"
    }
    wait_for(lambda: kept == {p.stem for p in (folder / "rollout").glob("*.bundle")})
    wait_for(lambda: not list((folder / "rollout").glob("upload-*")))


@pytest.fixture
def start_program(folder, key_folder):
    """Return a function that runs `fog-server --rollout` on the folder; all are killed."""
    started = []

    def start():
        command = [
            sys.executable, "-m", "fog_server.cli", "--bundles", str(folder), "--rollout",
            "--trust", str(key_folder / "trust"), "--listen", "127.0.0.1:0",
        ]  # fmt: skip
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        for line in started[-1].stderr:
            if "serving on " in line:
                return started[-1], line.rpartition(" ")[2].strip()
        raise AssertionError("it ended")

    yield start
    for process in started:
        process.kill()
        process.communicate()


def change_for_ever(operator, answered):
    """Start a canary and take it back, again and again; note each generation that is answered."""
    while True:
        if operator.states()["2.0"] == "canary":
            answered.append(operator.roll_back().generation)
        else:
            answered.append(operator.canary("2.0", bake_s=3600.0).generation)


def test_fog_killed_at_random_keeps_what_it_answered(template, folder, start_program, operate):
    """An operator goes on and on; every change that was answered is there after SIGKILL."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    for delay_s in (0.05, 0.2):
        process, address = start_program()
        operator = operate(address)
        answered = [operator.model().generation]
        timer = threading.Timer(delay_s, process.kill)
        timer.start()
        with pytest.raises(grpc.RpcError, match=r"UNAVAILABLE|CANCELLED"):
            change_for_ever(operator, answered)
        timer.join()
        process.wait()
        database = Database(folder / "rollout" / "rollout.db")
        model = database.models()["chain"]
        database.close()
        # One change more may have been made and not answered.
        assert answered[-1] <= model.generation <= answered[-1] + 1
        assert (model.on_trial is not None) == (model.canary is not None)
        assert State.ACTIVE is model.find("1.0", "").state


def test_two_fogs_on_one_folder_agree(fog, managed, start_managed, operate, versions, connect):
    """What one is told the other serves and says; a window sent before it looked finds its tail."""
    other_fog = start_managed(report_s=600.0, poll_s=3600.0)
    other = operate(other_fog.address)
    assert managed.states() == other.states()
    managed.promote("2.0")
    client = connect(other_fog)
    data = client.request("chain", X, version="2.0")
    assert client._infer(data, timeout=30)
    assert {"1.0": "retired", "2.0": "active"} == other.states()
    assert versions["2.0"][1] == other.report("a").digest
    # A canary started here is run by the same agents there, and reports count wherever they go.
    other.roll_back()
    managed.canary("2.0", share_ratio=0.5, bake_s=3600.0)
    roles = {a: (managed.report(a).role, other.report(a).role) for a in "abcdefgh"}
    assert all(here == there for here, there in roles.values())
    assert 2 == len({here for here, _ in roles.values()})
    assert {*"abcdefgh"} == {a.status.agent for a in other.model().agents}


def change_until(is_over, operator, answered):
    """Do as `change_for_ever` beside others who do the same: being told is no failure."""
    while not is_over.is_set():
        try:
            if operator.states()["2.0"] == "canary":
                answered.append(operator.roll_back().generation)
            else:
                answered.append(operator.canary("2.0", bake_s=3600.0).generation)
        except grpc.RpcError as error:
            if error.code() in (Status.UNAVAILABLE, Status.CANCELLED):
                return
            if error.code() not in (Status.FAILED_PRECONDITION, Status.ABORTED):
                raise


def test_of_fogs_on_one_folder_one_is_killed_at_random(template, folder, start_program, operate):
    """The others go on at once; nothing that any of them answered is lost, or made twice."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    programs = [start_program() for _ in range(3)]
    answered = [[] for _ in programs]
    is_over = threading.Event()
    threads = [
        threading.Thread(target=change_until, args=(is_over, operate(address), mine))
        for (_, address), mine in zip(programs, answered, strict=True)
    ]
    first = operate(programs[0][1]).model().generation
    for thread in threads:
        thread.start()
    for victim in (0, 1):
        seen = len(answered[-1])
        wait_for(lambda n=seen: len(answered[-1]) >= n + 5)
        programs[victim][0].kill()
        threads[victim].join()
    seen = len(answered[-1])
    wait_for(lambda: len(answered[-1]) >= seen + 5)
    is_over.set()
    threads[-1].join()
    model = operate(programs[-1][1]).model()
    # An answer says how the model then stands, which may be another's change already.
    made = [generation for mine in answered for generation in mine]
    assert max(made) <= model.generation
    changes = model.generation - first
    assert len(made) <= changes <= len(made) + 2, "each that was killed may owe one answer"
    events = [event.generation for event in model.events]
    assert list(range(model.generation, model.generation - len(events), -1)) == events
    again = operate(start_program()[1]).model()
    assert model.generation == again.generation
    assert [e.generation for e in model.events] == [e.generation for e in again.events]


def test_canary_survives_a_restart(managed, fog, start_managed, operate, versions):
    """It keeps its beginning, its agents and what they reported."""
    managed.canary("2.0", share_ratio=1.0, bake_s=3600.0, min_windows=100)
    before = managed.model()
    new = versions["2.0"][1]
    for windows in (10, 60):
        managed.report("a", new, run_id="1", tallies=[{"digest": new, "windows": windows}])
        wait_for(lambda n=windows: managed.model().canary.windows == n)
    fog.drain()
    again = operate(start_managed().address).model()
    assert before.generation == again.generation
    assert before.canary.started_at_s == again.canary.started_at_s
    assert before.canary.rules == again.canary.rules
    assert (60, ["a"]) == (again.canary.windows, list(again.canary.agents))


def test_lost_file_of_a_candidate_is_forgotten_and_of_the_active_one_is_fatal(
    template, folder, versions, start_managed, operate
):
    shutil.copytree(template, folder, dirs_exist_ok=True)
    (folder / "rollout" / f"{versions['2.0'][1]}.bundle").unlink()
    server = start_managed()
    model = operate(server.address).model()
    assert [True, False] == [b.is_stored for b in model.bundles]
    server.drain()
    (folder / "chain-1.0.bundle").unlink()
    with pytest.raises(Exception, match=r"active bundle chain 1\.0: .*cannot be read"):
        start_managed()
