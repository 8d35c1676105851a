"""A real Alertmanager with the routes of deploy/prometheus: what it posts is taken."""

import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from programs import running
from reoptimization.alerts import Notification
from reoptimization.desk import Answer
from reoptimization.receiver import Receiver
from reoptimization.webhook_config import Config

ROUTES = Path(__file__).parents[3] / "deploy" / "prometheus" / "alertmanager.yml"
SECRET = "a secret of the tests"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (shutil.which("prometheus-alertmanager") and shutil.which("amtool")),
        reason="needs prometheus-alertmanager (apt-get install prometheus-alertmanager)",
    ),
]


def test_alertmanager_calls_the_webhook_for_what_asks_for_a_better_model(tmp_path) -> None:
    """With the secret from its file; an alert without the action does not come."""
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    taken: list[Notification] = []
    is_there = threading.Event()

    def take(notification: Notification) -> Answer:
        taken.append(notification)
        is_there.set()
        return Answer()

    config = Config(listen="127.0.0.1:0", secret=str(secret))
    receiver = Receiver(config, CollectorRegistry(), lambda: None, take)
    text = ROUTES.read_text().replace("/etc/prometheus/reoptimize.secret", str(secret))
    text = text.replace("127.0.0.1:9095", receiver.address)
    (tmp_path / "routes.yml").write_text(re.sub(r"group_wait: \w+", "group_wait: 1s", text))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        shutil.which("prometheus-alertmanager"), f"--config.file={tmp_path / 'routes.yml'}",
        f"--storage.path={tmp_path / 'state'}", "--cluster.listen-address=",
        f"--web.listen-address={address}",
    ]  # fmt: skip
    with running(command, tmp_path / "alertmanager.log") as program:
        program.wait_for("(Listening on)")
        add = ("amtool", "alert", "add", f"--alertmanager.url=http://{address}")
        others = ("alertname=FogAway", "severity=page")
        wish = ("alertname=LatencyOverLimit", "action=reoptimize", "reason=latency", "model=ecg")
        for labels in (others, wish):
            subprocess.run([*add, *labels, "--annotation=summary=slow"], check=True)
        assert is_there.wait(60), program.text
    receiver.close()
    (alert,) = taken[0].wishes()
    assert ("LatencyOverLimit: slow", "latency", "ecg") == (
        alert.reason, alert.labels["reason"], alert.labels["model"],
    )  # fmt: skip
