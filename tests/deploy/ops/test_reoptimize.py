"""A request for a better model, from the recipe to the verdict, and each way that it may end."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from operating import Operator, actions, wait_for
from ops_site import Site

from headtail.allow_list import DEFAULT_ROLES, AllowList, write_allow_list
from headtail.certificates import issue, make_authority, valid_from_now
from headtail.identity import Identity, Role
from headtail.server.config import Tls
from optimizer.serve.client import JobsClient
from optimizer.serve.job import Job, State
from reoptimization.cli import main
from reoptimization.jobs import Jobs
from reoptimization.trial import Trial

Part = TypeVar("Part", Jobs, Trial)
SCRIPT = Path(__file__).parents[3] / "deploy" / "ops" / "reoptimize"


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Start something beside the test."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_better_model_becomes_active(site) -> None:
    """The job's bundle has the next version, and what is said for it stands in the answer."""
    code, told = site.ask("make=better", "--reason", "p95 latency", "--canary", "100%")
    assert (0, "promoted") == (code, told["outcome"])
    assert {"1.0": "retired", "1.1": "active"} == site.operator.states("chain")
    assert ("1.0", "1.1") == (told["active"]["version"], told["bundle"]["version"])
    old, new = told["why"]["old"], told["why"]["new"]
    assert (1, 0.005, 2, 0.002) == (old["point"], old["edge_j"], new["point"], new["edge_j"])
    events = site.operator.model().events
    assert ["promote", "canary", "publish", "promote", "publish"] == [e.action for e in events]
    assert events[1].reason.startswith("p95 latency [reoptimize ")
    assert told["text"] == told["steps"][-1]["text"]


def test_people_read_a_line_for_each_step(site) -> None:
    """With the time; what makes the new one better stands before the verdict."""
    assert 0 == main(site.words())
    said = site.capsys.readouterr()
    lines = said.out.splitlines()
    for line, text in zip(
        [lines[0], *lines[-3:]],
        (
            "chain 1.0 (",
            "old 1.0: point 1, float32, ",
            "new 1.1: point 2, float32, ",
            "1.1 is active, promoted by rule: ",
        ),
        strict=True,
    ):
        assert text in line
    assert ("5 mJ, 5 ms" in lines[-3], "2 mJ, 5 ms" in lines[-2], "") == (True, True, said.err)


def test_second_time_finds_nothing_better(site) -> None:
    """The same model, at whatever price and under whatever version, is not tried again."""
    assert "promoted" == site.ask("make=better")[1]["outcome"]
    before = site.operator.model()
    code, told = site.ask("make=better")
    assert (0, "nothing_better", "1.2") == (code, told["outcome"], told["bundle"]["version"])
    assert before == site.operator.model()


def test_same_model_at_another_price_is_nothing_better(site) -> None:
    code, told = site.ask("make=clone")
    assert (0, "nothing_better") == (code, told["outcome"])
    assert {"1.0": "active"} == site.operator.states()


def test_dry_run_changes_nothing(site) -> None:
    """But asks both ends."""
    code, told = site.ask("make=better", "--dry-run", "--canary", "10%")
    assert (0, "would_run", "1.1") == (code, told["outcome"], told["next_version"])
    assert "share_ratio 0.1" in told["steps"][-2]["text"]
    assert {"1.0": "active"} == site.operator.states()
    site.jobs.close()
    assert 3 == site.ask("make=better", "--dry-run", "--timeout", "1s")[0]


def test_bad_model_is_rolled_back_and_not_tried_again(site) -> None:
    """10, then 12, and again only when told to."""
    code, told = site.ask("make=opposite")
    assert (10, "rolled_back") == (code, told["outcome"])
    assert "agreement" in told["text"]
    assert {"1.0": "active", "1.1": "retired"} == site.operator.states()
    code, told = site.ask("make=opposite")
    assert (12, "rolled_back_before") == (code, told["outcome"])
    assert "the same was tried as 1.1 and rolled back by rule: agreement" in told["text"]
    assert {"1.0": "active", "1.1": "retired"} == site.operator.states()
    assert 10 == site.ask("make=opposite", "--retry")[0]
    assert "retired" == site.operator.states()["1.2"]


def test_verdict_that_comes_late_is_joined(site, monkeypatch) -> None:
    """11, and the same command goes on with the same trial; somebody promotes it meanwhile."""
    verdict, is_waiting = Trial.verdict, threading.Event()
    words = ("--wait-promote", "--canary", "50%")
    with monkeypatch.context() as first:
        first.setattr(Trial, "verdict", lambda trial: verdict(impatient(trial)))
        code, told = site.ask("make=better", *words)
    assert (11, "late") == (code, told["outcome"])
    assert "canary" == site.operator.states()["1.1"]
    monkeypatch.setattr(Trial, "verdict", lambda trial: is_waiting.set() or verdict(trial))
    promoting = in_thread(lambda: is_waiting.wait() and site.operator.promote())
    code, told = site.ask("make=better", *words)
    promoting.join()
    assert (0, "promoted") == (code, told["outcome"])
    assert 1 == len(jobs_of(site))


def test_trial_that_is_over_since_a_kill_is_joined(site) -> None:
    """With --since no other job is needed to say how it ended."""
    site.ask("make=opposite")
    code, told = site.ask("make=opposite", "--since", "1h")
    assert (10, 1) == (code, len(jobs_of(site)))
    assert "1.1 was put on trial by this request: joined" == told["steps"][0]["text"]
    assert 12 == site.ask("make=opposite", "--since", "0s")[0]


def test_two_at_once_end_alike(site) -> None:
    """One job, one trial, two answers."""
    codes: list[int] = []
    words = site.words("make=better ms=300")
    threads = [in_thread(lambda: codes.append(main(words))) for _ in range(2)]
    for thread in threads:
        thread.join()
    assert [0, 0] == codes
    assert 1 == len(jobs_of(site))
    assert ["publish", "promote", "publish", "canary", "promote"] == [
        action for action, _ in actions(site.operator.model())
    ]


def test_another_bundle_on_trial_comes_first(site, templates) -> None:
    """No job is begun."""
    site.operator.publish(templates / "other.bundle")
    site.operator.canary("1.5", bake_s=3600.0)
    code, told = site.ask()
    assert (5, "superseded") == (code, told["outcome"])
    assert told["text"].endswith("1.5 is on trial already")
    assert [] == jobs_of(site)


@pytest.mark.parametrize("is_promoted", [False, True])
def test_change_while_the_job_runs_comes_first(is_promoted, site, templates, tmp_path) -> None:
    """What it found then stays as it is."""
    changed = tmp_path / "changed"

    def interfere() -> None:
        wait_for(lambda: [job.state for job in jobs_of(site)] == [State.RUNNING])
        site.operator.publish(templates / "other.bundle")
        if is_promoted:
            site.operator.promote("1.5")
        else:
            site.operator.canary("1.5", bake_s=3600.0)
        changed.touch()

    interfering = in_thread(interfere)
    code, told = site.ask(f"make=better until={changed}")
    interfering.join()
    assert (5, "superseded") == (code, told["outcome"])
    now = {"1.0": "retired", "1.5": "active"} if is_promoted else {"1.0": "active", "1.5": "canary"}
    assert now == site.operator.states()


def test_two_wishes_at_once_do_not_mix(site) -> None:
    """Of two bundles with one version the second is told."""
    codes: list[int] = []
    first, second = site.words("make=better ms=1000"), site.words("make=other", name="other.toml")
    threads = [
        in_thread(lambda words=words: codes.append(main(words))) for words in (first, second)
    ]
    for thread in threads:
        thread.join()
    assert [0, 5] == sorted(codes)
    assert {"1.0": "retired", "1.1": "active"} == site.operator.states()


def test_failed_job_is_told_with_its_error_and_not_taken_for_the_next(site) -> None:
    """9, and the next request has a job of its own."""
    for number in (1, 2):
        code, told = site.ask("error=no_such_data")
        assert (9, "job_failed", number) == (code, told["outcome"], len(jobs_of(site)))
        assert told["text"].endswith(": failed: no such data")
        assert "failed" == told["job"]["state"]


def test_cancelled_job_is_no_success(site) -> None:
    def cancel() -> None:
        wait_for(lambda: jobs_of(site))
        client = JobsClient(site.jobs.address)
        client.cancel(jobs_of(site)[0].id)
        client.close()

    cancelling = in_thread(cancel)
    assert 9 == site.ask("make=better ms=60000")[0]
    cancelling.join()


def test_job_that_is_not_over_in_time_goes_on(site, tmp_path, monkeypatch) -> None:
    """And is joined."""
    task, follow = f"make=better until={tmp_path / 'late'}", Jobs.follow
    with monkeypatch.context() as first:
        first.setattr(Jobs, "follow", lambda jobs, job: follow(impatient(jobs), job))
        code, told = site.ask(task)
    assert (11, "late", False) == (code, told["outcome"], jobs_of(site)[0].state.is_final)
    (tmp_path / "late").touch()
    code, told = site.ask(task)
    assert (0, 1) == (code, len(jobs_of(site)))
    assert "joined" in told["steps"][1]["text"]


def test_mistakes_end_at_once(site, tmp_path) -> None:
    """1 for a recipe that cannot be read, 2 for flags, 4 for a model that nobody knows."""
    words = site.words()
    assert 1 == main(["--recipe", str(tmp_path / "none.toml"), *words[2:]])
    assert "none.toml: cannot be read: No such file" in site.capsys.readouterr().err
    (tmp_path / "bad.toml").write_text("name = 3")
    assert 1 == main(["--recipe", str(tmp_path / "bad.toml"), *words[2:]])
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--canary", "many"])
    (tmp_path / "other.toml").write_text('name = "nobody"')
    assert 4 == main(["--recipe", str(tmp_path / "other.toml"), *words[2:]])
    assert "model 'nobody': not served here" in site.capsys.readouterr().err
    (tmp_path / "half.toml").write_text('name = "chain"')
    assert 7 == main(["--recipe", str(tmp_path / "half.toml"), *words[2:]])
    assert "missing required field `version`" in site.capsys.readouterr().err
    assert 1 == main([*words, "--fog", "10.0.0.1:8500"])
    assert "--fog: 10.0.0.1:8500 is not this machine" in site.capsys.readouterr().err


def test_full_store_and_full_queue_are_told(tmp_path, start_fog, start_jobs, capsys) -> None:
    """8, and everything stays as it was."""
    fog = start_fog(max_store_bytes=1)
    site = Site(tmp_path, fog, start_jobs(queued=1), Operator(fog.address), capsys)
    code, told = site.ask()
    assert (8, "full") == (code, told["outcome"])
    assert {"1.0": "active"} == site.operator.states()
    site.jobs.close()
    site.jobs = start_jobs(free_bytes=1 << 62)
    assert 8 == site.ask("make=opposite")[0]
    site.operator.channel.close()


def test_fog_that_is_away_is_waited_for(site, start_fog) -> None:
    """3 when the time is over; one that comes back meanwhile takes the bundle."""
    address = site.fog.address

    def restart() -> None:
        wait_for(lambda: [job.state for job in jobs_of(site)] == [State.RUNNING])
        site.fog.drain()
        wait_for(lambda: [job.state for job in jobs_of(site)] == [State.SUCCEEDED])
        threading.Event().wait(1.0)
        site.fog = start_fog(address)

    restarting = in_thread(restart)
    code, told = site.ask("make=better ms=1000")
    restarting.join()
    assert (0, "promoted") == (code, told["outcome"])
    assert any(step["text"].endswith("; trying again") for step in told["steps"])
    site.fog.drain()
    code, told = site.ask("make=opposite", "--timeout", "1s")
    assert (3, "away") == (code, told["outcome"])


def test_certificates_are_used_and_rights_asked_for(
    tmp_path, start_fog, start_jobs, capsys
) -> None:
    """One certificate for both ends; who may not change what agents run is told: 6."""
    folder = tmp_path / "ca"
    make_authority(folder, "site", valid_from_now(1))
    ann, bob = Identity(Role.OPERATOR, "ann"), Identity(Role.OPERATOR, "bob")
    roles = DEFAULT_ROLES | {"builder": DEFAULT_ROLES["edge"]}
    listed = {str(ann): "operator", str(bob): "builder"}
    write_allow_list(folder / "allow.toml", AllowList(roles, listed))
    tls = {}
    for role in (Role.FOG, Role.OPTIMIZER):
        made = issue(folder, Identity(role, "1"), ["127.0.0.1"], valid_from_now(1))
        tls[role] = Tls(
            str(folder / "ca.pem"), str(made.cert), str(made.key), str(folder / "allow.toml")
        )
    fog, jobs = start_fog(tls=tls[Role.FOG]), start_jobs(tls=tls[Role.OPTIMIZER])
    for who, expected in ((ann, 0), (bob, 6)):
        made = issue(folder, who, (), valid_from_now(1))
        files = ("--tls-ca", folder / "ca.pem", "--tls-cert", made.cert, "--tls-key", made.key)
        site = Site(tmp_path, fog, jobs, None, capsys)
        assert expected == site.ask("make=better", *map(str, files))[0]


def impatient(part: Part) -> Part:
    """Let the time of a request be over when its job or its trial is to be waited for."""
    part._patience._give_up_at = 0.0
    return part


def jobs_of(site: Site) -> list[Job]:
    """Return the jobs of the service, newest first."""
    client = JobsClient(site.jobs.address)
    try:
        return client.jobs()
    finally:
        client.close()


def test_terminal_has_a_line_that_moves(site) -> None:
    """On standard error, while standard output keeps the steps."""
    master, slave = os.openpty()
    command = [sys.executable, SCRIPT, *site.words("make=better ms=700")]
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=slave, text=True, env=environment
    ) as process:
        os.close(slave)
        drawn = b""
        with contextlib.suppress(OSError):  # EIO: the other end was closed
            while more := os.read(master, 65536):
                drawn += more
        steps = process.stdout.read()
    os.close(master)
    assert 0 == process.returncode
    assert b"\x1b[" in drawn, "nothing was drawn over"
    assert b"make" in drawn
    assert "1.1 is active" in steps.splitlines()[-1]
    assert "\x1b" not in steps
