"""A whole site on this machine: job service, fog, agents behind links of their own, Prometheus.

Rules, routes and configuration are those of `deploy/`, with their minutes made seconds and one
limit set, as a site would. Everything listens on loopback.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml
from loop_programs import WAIT_S, Agent, Program, free_address

from headtail.bundle.keys import write_key_pair
from programs import BIN
from proxy import Proxy

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
OPS = ROOT / "deploy" / "ops"
RECORDS = ("100", "119", "233")
LIMIT_S = 0.1
"""p95 of a window that the site allows: a bucket's bound between the two points on a slow link."""
SLOW_BITS_PER_S = 64e3
NAME = "ecg-loop"

RECIPE = f"""\
name = "{NAME}"
version = "1"
task = "AAMI heartbeat classes"
seed = 1

[data]
source = "mitbih"
max_train_per_class = 200

[data.beats]
length = 128

[[preprocess]]
name = "reshape"
parameters = {{ shape = [128, 1] }}

[network]
lengths = [128, 32, 8, 1]
channels = [1, 1, 2, 32]

[train]
epochs = 3
batch = 64
learning_rate = 0.01

# On a wire windows go to the fog as they are; the last layers never fit the device.
[partition]
device_profile = "raspberry-pi-4"
link_profile = "ethernet"
objective = "latency"
encodings = ["float32"]
points = "all"

[partition.bounds]
flash_bytes = 512
"""


@contextmanager
def site_with(folder: Path, data: Path, *, is_watched: bool) -> Iterator["Site"]:
    """Give a site whose agents run the first bundle, trained on `data`; end it whatever happens."""
    site = Site(folder, data)
    try:
        site.begin(RECORDS, is_watched=is_watched)
        yield site
    finally:
        site.close()


class Site:
    """The programs of a site; every one is ended by `close`."""

    def __init__(self, folder: Path, data: Path) -> None:
        """Write keys; nothing runs yet."""
        self.folder, self.data = folder, data
        self.agents: list[Agent] = []
        self.optimizer, self.fog, self.prometheus = (free_address() for _ in range(3))
        self.alertmanager, self.webhook = free_address(), free_address()
        self.pages = {name: free_address() for name in ("optimizer", "fog", "edge")}
        self.programs: dict[str, Program] = {}
        write_key_pair(folder / "bundles.key", folder / "trust" / "bundles.pub")
        self.secret = folder / "webhook.secret"
        self.recipe = folder / "recipe.toml"
        self.recipe.write_text(RECIPE)

    def close(self) -> None:
        """End everything, the agents first."""
        for program in reversed(self.programs.values()):
            program.stop()
        for agent in self.agents:
            agent.link.close()

    def begin(self, records: Sequence[str], *, is_watched: bool = True) -> None:
        """Start everything but the webhook, with an agent for each record."""
        self.serve_jobs()
        self.make_first_bundle()
        self.serve_tails()
        pages = [free_address() for _ in records]
        if is_watched:
            self.watch(pages)
        for record, page in zip(records, pages, strict=True):
            self.add_agent(record, page)

    def start(self, name: str, command: Sequence[str | Path], ready: str, **env: str) -> Program:
        """Start a program under a name by which it can be found."""
        program = Program(command, self.folder / f"{name}.log", ready, env)
        self.programs[name] = program
        program.start()
        return program

    def serve_jobs(self) -> None:
        """Start the job service."""
        config = self.folder / "optimizer.toml"
        config.write_text(
            f'state = "{self.folder}/jobs"\nkey = "{self.folder}/bundles.key"\n'
            f'listen = "{self.optimizer}"\nmetrics = "{self.pages["optimizer"]}"\n'
            f'paths = ["{self.folder}"]\n[capacity]\nmemory_bytes = {8 << 30}\n'
            f'[field]\nprometheus = ["http://{self.prometheus}"]\n'
        )
        command = [BIN / "optimizer", "serve", "--config", config]
        self.start("optimizer", command, "serving", HEADTAIL_DATA=str(self.data))

    def make_first_bundle(self) -> Path:
        """Have the job service make the bundle that the site begins with."""
        to = [BIN / "optimizer", "submit", "--optimizer", self.optimizer]
        job = self.call(*to, self.recipe).stdout.strip()
        self.call(BIN / "optimizer", "watch", "--optimizer", self.optimizer, job)
        out = self.folder / "bundles"
        out.mkdir()
        self.call(BIN / "optimizer", "fetch", "--optimizer", self.optimizer, job, "--to", out)
        (bundle,) = out.glob("*.bundle")
        return bundle

    def serve_tails(self) -> None:
        """Start the fog, which keeps a rollout."""
        config = self.folder / "fog.toml"
        config.write_text(
            f'bundles = "{self.folder}/bundles"\ntrust = "{self.folder}/trust"\n'
            f'listen = "{self.fog}"\nmetrics = "{self.pages["fog"]}"\n'
            "[rollout]\nenabled = true\npoll_s = 0.2\nreport_s = 2.0\n"
            "[rollout.rules]\nmin_windows = 20\nmin_shadows = 10\n"
        )
        self.start("fog", [BIN / "fog-server", "--config", config], "serving on")

    def add_agent(self, record: str, page: str) -> Agent:
        """Start an agent that replays a record twice as fast as it was, behind its own link."""
        name = f"pi-{record}"
        link = Proxy(self.fog)
        sink = self.folder / f"{name}.jsonl"
        command = [
            BIN / "edge-agent", "run", "--model", NAME, "--fog", link.address, "--agent", name,
            "--trust", self.folder / "trust", "--state", self.folder / name,
            "--source", f"wfdb:{self.data / 'mitdb' / record}", "--speed", "2",
            "--sink", f"jsonl:{sink}", "--existing", "append", "--metrics", page,
            "--updates", "on", "--update-windows", "8", "--deadline-s", "5",
        ]  # fmt: skip
        program = self.start(name, command, "metrics on")
        self.agents.append(Agent(name, record, link, sink, program))
        return self.agents[-1]

    def watch(self, pages: Sequence[str]) -> None:
        """Start Prometheus and Alertmanager with the rules and routes of `deploy/`."""
        self.secret.write_text("a secret of the test's\n")
        self.secret.chmod(0o600)
        folder = self.folder / "prometheus"
        shutil.copytree(PROMETHEUS, folder)
        hasten(folder / "recording.yml", (r"\[(5|10)m\]", "[20s]"), (r"\[1h\]", "[5m]"))
        hasten(folder / "alerts.yml", (r"for: \d+m", "for: 2s"))
        hasten(
            folder / "limits.yml",
            (r"(edge_latency_seconds:p95\n\s+expr: vector)\(0.5\)", rf"\1({LIMIT_S})"),
            (r"(edge_energy_joules:per_window\n\s+expr: vector)\(0.005\)", r"\1(0.05)"),
        )
        hasten(
            folder / "prometheus.yml",
            ("15s", "1s"),
            (r"127\.0\.0\.1:9093", self.alertmanager),
        )
        targets = {
            "edge": pages,
            "fog": [self.pages["fog"]],
            "optimizer": [self.pages["optimizer"]],
        }
        for job, addresses in targets.items():
            text = yaml.safe_dump([{"targets": list(addresses)}])
            (folder / "targets" / f"{job}.yml").write_text(text)
        hasten(
            folder / "alertmanager.yml",
            ("group_wait: 30s", "group_wait: 1s"),
            (r"127\.0\.0\.1:9095", self.webhook),
            ("/etc/prometheus/reoptimize.secret", str(self.secret)),
        )
        self.start(
            "alertmanager",
            ["prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}",
             f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address=",
             f"--web.listen-address={self.alertmanager}"],
            "Listening on",
        )  # fmt: skip
        self.start(
            "prometheus",
            ["prometheus", f"--config.file={folder / 'prometheus.yml'}",
             f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address={self.prometheus}"],
            "Server is ready",
        )  # fmt: skip

    def answer_alerts(self) -> None:
        """Start the webhook, with a recipe that learns from what Prometheus has recorded."""
        recipe = self.folder / "better.toml"
        recipe.write_text(
            RECIPE + f'[field]\nprometheus = "http://{self.prometheus}"\nrange = "20s"\n'
            "min_windows = 30\n"
        )
        config = self.folder / "webhook.toml"
        config.write_text(
            f'listen = "{self.webhook}"\nsecret = "{self.secret}"\n'
            f'state = "{self.folder}/webhook.json"\n[[runs]]\nname = "ecg"\n'
            f'reasons = ["latency"]\nrecipe = "{recipe}"\nfog = "{self.fog}"\n'
            f'optimizer = "{self.optimizer}"\ncanary_ratio = 0.34\nbake_s = 5.0\n'
            "min_windows = 20\n"
        )
        command = [OPS / "reoptimize-webhook", "--config", config]
        self.start("webhook", command, r"(listening|waiting|alerts)")

    def ask(self, query: str) -> dict[str, float]:
        """Return what Prometheus says now, by instance."""
        address = f"http://{self.prometheus}/api/v1/query?{urlencode({'query': query})}"
        try:
            with urlopen(address, timeout=20) as answer:
                found = json.load(answer)["data"]["result"]
        except URLError:
            return {}
        return {r["metric"].get("instance", ""): float(r["value"][1]) for r in found}

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        with urlopen(f"http://{self.prometheus}/api/v1/alerts", timeout=20) as answer:
            alerts = json.load(answer)["data"]["alerts"]
        return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}

    def call(self, *command: str | Path, expect: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WAIT_S, check=False, env=os.environ
        )
        assert expect == done.returncode, done.stdout + done.stderr
        return done

    def rollout(self) -> dict[str, Any]:
        """Return how the model stands at the fog."""
        command = (BIN / "fog-server", "bundles", NAME, "--agents", "--fog", self.fog, "--json")
        (found,) = json.loads(self.call(*command).stdout)["rollouts"]
        return found

    def active(self) -> dict[str, Any]:
        """Return the bundle that is active at the fog."""
        bundles = [record["bundle"] for record in self.rollout()["bundles"]]
        (found,) = [b for b in bundles if b["state"] == "active"]
        return found

    def all_run(self, digest: str) -> bool:
        """Return whether every agent's last window was answered by a bundle."""
        return {digest} == {a.results()[-1]["bundle"] for a in self.agents}

    def report(self) -> dict[str, Any]:
        """Return the report of the last job."""
        paths = (self.folder / "jobs").rglob("report.json")
        found: dict[str, Any] = json.loads(max(paths, key=lambda p: p.stat().st_mtime).read_text())
        return found

    def fetch(self, path: Path) -> Path:
        """Write the active bundle to a file."""
        stored = self.folder / "bundles" / "rollout" / f"{self.active()['digest']}.bundle"
        return Path(shutil.copy(stored, path))

    def tell(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"== {n}\n{p.text[-2000:]}" for n, p in self.programs.items())


def hasten(path: Path, *changes: tuple[str, str]) -> None:
    """Replace patterns in a file, each of which must be there."""
    text = path.read_text()
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count, f"{path.name} has no {pattern}"
    path.write_text(text)
