"""The webhook: who is let in, what begins, and what a restart does not lose."""

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest
from operating import wait_for
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from headtail.errors import ConfigError
from programs import Program, running
from reoptimization.alerts import Notification, decode
from reoptimization.desk import Answer, Desk
from reoptimization.outcome import Code, Outcome
from reoptimization.receiver import Receiver
from reoptimization.webhook import Webhook
from reoptimization.webhook_config import Config, Run, check

SCRIPT = Path(__file__).parents[3] / "deploy" / "ops" / "reoptimize-webhook"
SECRET = "a secret of the tests"
RECIPE = 'name = "chain"'


def alert(reason: str = "latency", status: str = "firing", **labels: str) -> dict:
    """Return an alert as Alertmanager sends it."""
    return {
        "status": status,
        "labels": {"alertname": "A", "action": "reoptimize", "reason": reason, **labels},
        "annotations": {"summary": "a-1 answers chain slowly"},
        "startsAt": "2026-11-21T15:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://p/graph",
        "fingerprint": "x",
    }


def body(*alerts: dict) -> bytes:
    """Return what Alertmanager posts."""
    told = {"version": "4", "status": "firing", "receiver": "reoptimize", "alerts": list(alerts)}
    return json.dumps({**told, "groupLabels": {}, "truncatedAlerts": 0}).encode()


@pytest.fixture
def config(tmp_path) -> Config:
    """Return a configuration with one run for two reasons, and one for a third."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    recipe = str(tmp_path / "recipe.toml")
    return Config(
        listen="127.0.0.1:0",
        secret=str(tmp_path / "secret"),
        state=str(tmp_path / "state" / "runs.json"),
        body_bytes=10_000,
        runs=(
            Run("quick", ("latency", "energy"), recipe, rest_s=100.0),
            Run("sure", ("drift",), recipe),
        ),
    )


class Worker:
    """Does runs when it is told to, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float | None]] = []
        self.go = threading.Semaphore(0)
        self.text = "well"

    def __call__(self, run: Run, reason: str, began_at_s: float | None) -> Outcome:
        """Do one run."""
        self.asked.append((run.name, reason, began_at_s))
        self.go.acquire()
        return Outcome(Code.DONE, "promoted", self.text)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.go.release(100)


def take(desk: Desk, *alerts: dict) -> Answer:
    """Hand alerts to a desk."""
    notification = decode(body(*alerts))
    return desk.take(notification.alerts, tuple(notification.wishes()))


def test_one_run_of_a_recipe_at_a_time(config, worker) -> None:
    """Alerts that come meanwhile join it; soon after its end none is begun."""
    now = [1000.0]
    desk = Desk(config, worker, clock=lambda: now[0])
    desk.start()
    assert Answer(begun=1, joined=1) == take(desk, alert(), alert("energy"))
    assert Answer(begun=1, joined=1) == take(desk, alert("drift"), alert())
    wait_for(lambda: len(worker.asked) == 2)
    assert {("quick", "A: a-1 answers chain slowly", None)} <= set(worker.asked)
    worker.go.release(2)
    wait_for(lambda: desk.states["quick"].outcome == "promoted")
    now[0] += 99
    assert Answer(resting=1) == take(desk, alert())
    now[0] += 2
    assert Answer(begun=1) == take(desk, alert())
    desk.stop()


def test_other_alerts_begin_nothing(config, worker) -> None:
    """Resolved ones, those without the action, of another model, or for a reason of no run."""
    desk = Desk(config, worker)
    others = (
        alert(status="resolved"), alert(action="none"), alert("fallback"), alert(model="other"),
    )  # fmt: skip
    assert Answer(ignored=4) == take(desk, *others)
    assert Answer(begun=1) == take(desk, alert(model="chain"))


def test_run_goes_on_after_a_restart(config, worker) -> None:
    """With the time at which it began, so that a trial begun by it is known."""
    take(Desk(config, worker, clock=lambda: 7.0), alert())
    again = Desk(config, worker)
    again.start()
    wait_for(lambda: worker.asked == [("quick", "A: a-1 answers chain slowly", 7.0)])
    assert Answer(joined=1) == take(again, alert())
    again.stop()


def test_end_is_said_once_it_is_on_the_disk(config, worker, monkeypatch, caplog) -> None:
    """Who reads the line and kills the program finds no run to go on with."""
    caplog.set_level("INFO")
    found: list[str] = []
    worker.text = "and no run of another test's, which may end just now"

    def look(record: logging.LogRecord) -> bool:
        if worker.text in record.getMessage():
            found.append(json.loads(Path(config.state).read_text())["quick"]["outcome"])
        return True

    monkeypatch.setattr(logging.getLogger(Desk.__module__), "filters", [look])
    desk = Desk(config, worker)
    desk.start()
    take(desk, alert())
    worker.go.release()
    wait_for(lambda: found)
    desk.stop()
    assert ["promoted"] == found


def test_state_that_cannot_be_written_is_told(config, worker, tmp_path) -> None:
    """And nothing begins."""
    desk = Desk(config, worker)
    (tmp_path / "state" / "runs.json").unlink()
    (tmp_path / "state").rmdir()
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        take(desk, alert())
    assert desk.states["quick"].began_at_s is None
    (tmp_path / "state").unlink()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "runs.json").write_text("{")
    with pytest.raises(ConfigError, match=r"runs\.json: cannot be read"):
        Desk(config, worker)


@pytest.fixture
def receive(config) -> Iterator[Callable[..., tuple[int, bytes]]]:
    """Return a function that calls a receiver, which counts the alerts it is handed."""
    taken: list[Notification] = []

    def count(notification: Notification) -> Answer:
        taken.append(notification)
        return Answer(begun=len(notification.alerts))

    receiver = Receiver(config, CollectorRegistry(), lambda: None, count)

    def call(method: str = "POST", path: str = "/alerts", data: bytes = b"", **headers: str):
        connection = HTTPConnection(receiver.address, timeout=30)
        connection.request(
            method, path, data or None, {k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    call.address, call.taken = receiver.address, taken
    yield call
    receiver.close()


def test_alerts_with_the_secret_are_taken(receive) -> None:
    status, told = receive(data=body(alert(), alert()), Authorization=f"Bearer {SECRET}")
    assert (200, {"begun": 2, "joined": 0, "resting": 0, "ignored": 0}) == (
        status, json.loads(told),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "path", "data", "secret"),
    [
        (401, "/alerts", body(alert()), ""),
        (401, "/alerts", body(alert()), "Bearer another secret here"),
        (401, "/alerts", body(alert()), f"Basic {SECRET}"),
        (404, "/other", body(alert()), f"Bearer {SECRET}"),
        (413, "/alerts", b"x" * 10_001, f"Bearer {SECRET}"),
        (400, "/alerts", b"{}", f"Bearer {SECRET}"),
        (400, "/alerts", b"[1, 2", f"Bearer {SECRET}"),
    ],
)
def test_other_calls_are_refused(status, path, data, secret, receive) -> None:
    """And nothing is taken."""
    assert status == receive(path=path, data=data, Authorization=secret)[0]
    assert [] == receive.taken


def test_length_must_be_said_and_be_one(receive) -> None:
    for said in ("", "Content-Length: -1\r\n", f"Content-Length: {'9' * 5000}\r\n"):
        with socket.create_connection(receive.address.split(":"), 30) as connection:
            head = (
                f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n{said}\r\n"
            )
            connection.sendall(head.encode())
            assert connection.recv(100).split()[1] in (b"411", b"413")
    assert [] == receive.taken


def test_pages_are_for_everybody(receive) -> None:
    assert (200, b"ok\n") == receive("GET", "/livez")
    assert 200 == receive("GET", "/metrics")[0]
    assert 404 == receive("GET", "/alerts")[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"secret": ""}, "secret: name a file"),
        ({"runs": ()}, "runs: expected at least one"),
        ({"listen": "0.0.0.0:9095"}, "listen: .*not this machine"),
        ({"runs": (Run("a", ("x",), "/nowhere.toml"),)}, "nowhere.toml: cannot be read"),
    ],
)
def test_configuration_that_cannot_work_is_told_at_the_start(change, text, config) -> None:
    with pytest.raises(ConfigError, match=text):
        check(msgspec.structs.replace(config, **change))


def start(site, tmp_path) -> list[str]:
    """Write the program's configuration and return its command line."""
    site.words("make=better ms=700")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "webhook.toml").write_text(f"""
        listen = "127.0.0.1:0"
        secret = "{tmp_path / "secret"}"
        state = "{tmp_path / "runs.json"}"
        [[runs]]
        name = "chain"
        reasons = ["latency"]
        recipe = "{tmp_path / "recipe.toml"}"
        fog = "{site.fog.address}"
        optimizer = "{site.jobs.address}"
        bake_s = 0
        min_windows = 0
    """)
    return [sys.executable, str(SCRIPT), "--config", str(tmp_path / "webhook.toml")]


def post(program: Program) -> dict:
    """Send an alert to a running webhook."""
    address = program.wait_for(r"alerts on http://(\S+)/alerts")
    connection = HTTPConnection(address, timeout=30)
    connection.request("POST", "/alerts", body(alert()), {"Authorization": f"Bearer {SECRET}"})
    answer = connection.getresponse()
    assert 200 == answer.status
    return json.loads(answer.read())


def test_alert_ends_in_another_active_bundle_whatever_is_killed(site, tmp_path) -> None:
    """The program is killed while its job runs; the next one goes on and says how it ended."""
    command = start(site, tmp_path)
    with running(command, tmp_path / "first.log") as program:
        assert 1 == post(program)["begun"]
        program.wait_for(r"job (chain-\S+): queued")
        program.process.send_signal(signal.SIGKILL)
    with running(command, tmp_path / "second.log") as program:
        assert 1 == post(program)["joined"]
        program.wait_for(r"chain: promoted: (1\.1) is active")
        assert {"1.0": "retired", "1.1": "active"} == site.operator.states()
        assert 1 == post(program)["resting"]
        connection = HTTPConnection(program.wait_for(r"http://(\S+)/alerts"), timeout=30)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        assert 'reoptimize_runs_total{outcome="promoted",run="chain"} 1.0' in page
        program.process.terminate()
        assert 0 == program.process.wait(30)


def test_program_that_is_stopped_leaves_its_run_to_the_next(site, tmp_path) -> None:
    """With exit code 0, although the job has not ended."""
    command = start(site, tmp_path)
    with running(command, tmp_path / "first.log") as program:
        post(program)
        program.wait_for(r"job (chain-\S+): queued")
        program.process.terminate()
        assert 0 == program.process.wait(30)
        assert "running: chain" in program.text
        assert "Traceback" not in program.text
    with running(command, tmp_path / "second.log") as program:
        program.wait_for(r"chain: promoted: (1\.1) is active")


def test_wrong_configuration_ends_the_program(tmp_path) -> None:
    (tmp_path / "webhook.toml").write_text("lisen = 3")
    command = [sys.executable, SCRIPT, "--config", tmp_path / "webhook.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (1, "") == (done.returncode, done.stdout)
    assert "webhook.toml: Object contains unknown field `lisen`" in done.stderr


def test_every_metric_is_documented(config) -> None:
    """Names, types and texts as docs/metrics.md has them."""
    webhook = Webhook(config, lambda: None)
    connection = HTTPConnection(webhook.address, timeout=30)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    webhook.close()
    rows = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    families = [f for f in text_string_to_metric_families(page) if f.name[-8:] != "_created"]
    assert 4 == len(families)
    for family in families:
        name = family.name + "_total" * (family.type == "counter")
        assert f"| `{name}` | {family.type} | " in rows
        assert f" | {family.documentation} |" in rows
