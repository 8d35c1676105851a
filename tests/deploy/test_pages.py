"""Pages of running programs: Prometheus lints them, and rules find there what they name."""

import re
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.request import urlopen

import promql_parser as promql
import pytest

from programs import BIN, Program, running

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
WEBHOOK = """\
listen = "127.0.0.1:0"
secret = "{folder}/secret"
state = "{folder}/state.json"
[[runs]]
name = "ecg"
reasons = ["latency"]
recipe = "{recipe}"
"""
NAMES = re.compile(r"(?<![:\w])(?:edge|fog|optimizer|reoptimize)_\w+(?!:)\b")


def page(program: Program, said: str = r"metrics on http://(\S+)/metrics") -> str:
    """Return a program's page."""
    address = program.wait_for(said)
    with urlopen(f"http://{address}/metrics", timeout=20) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def pages(write_test_bundle, key_folder, tmp_path_factory):
    """Return the pages of a fog with rollouts and an agent, after a window through both.

    And of a fog of several workers, of the jobs and of what takes alerts.
    """
    folder = tmp_path_factory.mktemp("pages")
    bundle = write_test_bundle(folder)
    trust = ("--trust", key_folder / "trust")
    serve = ("fog-server", "--bundles", folder, "--listen", "127.0.0.1:0", *trust)
    keeping = ("--rollout", "--capture")
    with running((*serve, *keeping, "--metrics", "127.0.0.1:0"), folder / "fog.log") as fog:
        address = fog.wait_for(r"serving on (\S+)")
        command = [
            BIN / "edge-agent", "run", "--bundle", bundle, *trust, "--fog", address,
            "--source", "stdin", "--sink", f"jsonl:{folder / 'out.jsonl'}", "--connect-s", "60",
            "--deadline-s", "60", "--metrics", "127.0.0.1:0",
            "--updates", "on", "--state", folder / "state",
        ]  # fmt: skip
        log = folder / "edge.log"
        with (
            log.open("wb") as file,
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=file) as process,
        ):
            agent = Program(process, log)
            process.stdin.write(f"{[[0.5, 1.5]] * 16}\n".encode())
            process.stdin.flush()
            results = folder / "out.jsonl"
            while not (results.exists() and results.read_text().strip()):
                assert process.poll() is None, agent.text
                threading.Event().wait(0.01)
            jobs = ("optimizer", "serve", "--state", folder / "jobs", "--listen", "127.0.0.1:0")
            (folder / "secret").write_text("a secret of the test's")
            config = folder / "webhook.toml"
            config.write_text(WEBHOOK.format(folder=folder, recipe=ROOT / "recipes" / "demo.toml"))
            webhook = (ROOT / "deploy" / "ops" / "reoptimize-webhook", "--config", config)
            with (
                running((*jobs, "--metrics", "127.0.0.1:0"), folder / "jobs.log") as optimizer,
                running(webhook, folder / "webhook.log") as alerts,
            ):
                programs = {"edge": agent, "fog": fog, "optimizer": optimizer}
                found = {name: page(program) for name, program in programs.items()}
                found["reoptimize"] = page(alerts, r"alerts on http://(\S+)/alerts")
            many = (*serve, "--workers", "2", "--metrics", "127.0.0.1:0")
            with running(many, folder / "workers.log") as workers:
                workers.wait_for(r"serving on (\S+)")
                found["workers"] = page(workers)
            process.stdin.close()
            assert 0 == process.wait(20), agent.text
    return found


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool (apt-get install prometheus)"
)
@pytest.mark.parametrize("name", ["edge", "fog", "workers", "optimizer", "reoptimize"])
def test_promtool_finds_nothing_wrong_with_a_page(pages, name):
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=pages[name], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_what_rules_and_dashboards_name_is_on_the_pages(pages, every_query):
    """Every series of the programs."""
    text = "\n".join(pages.values())
    exposed = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    exposed |= {f"{n}{end}" for n in exposed for end in ("_bucket", "_sum", "_count")}
    for query in every_query:
        promql.parse(query.text)
        for name in NAMES.findall(query.text):
            if f":{name}" not in query.text:
                assert name in exposed, f"{query.place}: {name}"
