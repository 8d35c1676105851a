"""The programs as they are installed: job service, fog, agents, and the script, twice at once."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from operating import Operator, wait_for
from run_case import bumps, write_recipe

from programs import BIN, running

OPS = Path(__file__).parents[3] / "deploy" / "ops"
pytestmark = [pytest.mark.e2e, pytest.mark.tf, pytest.mark.slow]
MORE = "[train]\nepochs = {epochs}\n[partition]\nencodings = {encodings}\n"


@contextmanager
def agent(name: str, bundle: Path, fog: str, trust: Path, folder: Path) -> Iterator[Path]:
    """Run an agent that is handed a window every 20 ms; give the file of its results."""
    sink, is_over = folder / f"{name}.jsonl", threading.Event()
    command = [
        BIN / "edge-agent", "run", "--bundle", bundle, "--trust", trust, "--fog", fog,
        "--source", "stdin", "--sink", f"jsonl:{sink}", "--agent", name, "--updates", "on",
        "--state", folder / name, "--deadline-s", "60", "--connect-s", "60",
    ]  # fmt: skip
    windows, _ = bumps(100, np.random.default_rng(1))
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log)

        def feed() -> None:
            for number in range(1_000_000):
                if is_over.wait(0.02):
                    return
                window = windows[number % len(windows)].tolist()
                process.stdin.write(f"{json.dumps([window])}\n".encode())
                process.stdin.flush()

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            yield sink
        finally:
            is_over.set()
            feeder.join()
            process.stdin.close()
            assert 0 == process.wait(60)


def test_agents_run_what_two_requests_at_once_ask_for(tmp_path, key_folder) -> None:
    """One job, one trial; every window of every agent is answered once."""
    key, trust, first = key_folder / "test.key", key_folder / "trust", tmp_path / "bundles"
    recipe = write_recipe(tmp_path, MORE.format(epochs=8, encodings='["float32"]'))
    subprocess.run(
        [BIN / "optimizer", "run", recipe, "--out", tmp_path / "run", "--key", key], check=True
    )
    first.mkdir()
    bundle = (tmp_path / "run" / "bumps-1.bundle").rename(first / "bumps-1.bundle")
    recipe = write_recipe(tmp_path, MORE.format(epochs=8, encodings='["float32", "int8"]'))
    config = tmp_path / "fog.toml"
    config.write_text("[rollout]\nenabled = true\npoll_s = 0.1\nreport_s = 0.3\n")
    serve = ("--listen", "127.0.0.1:0")
    with ExitStack() as stack:
        fog = stack.enter_context(
            running(
                ("fog-server", "--config", config, "--bundles", first, "--trust", trust, *serve),
                tmp_path / "fog.log",
            )
        ).wait_for(r"serving on (\S+)")
        jobs = stack.enter_context(
            running(
                ("optimizer", "serve", "--state", tmp_path / "jobs", "--key", key,
                 "--paths", tmp_path, *serve),
                tmp_path / "jobs.log",
            )
        ).wait_for(r"serving on (\S+)")  # fmt: skip
        sinks = [
            stack.enter_context(agent(name, bundle, fog, trust, tmp_path)) for name in ("a", "b")
        ]
        wait_for(lambda: all(sink.exists() and sink.read_text() for sink in sinks))
        command = [
            OPS / "reoptimize", "--recipe", recipe, "--fog", fog, "--optimizer", jobs, "--json",
            "--canary", "50%", "--bake", "1s", "--min-windows", "50", "--max-latency", "1000",
            "--reason", "energy", "--memory", "2G", "--timeout", "10m",
        ]  # fmt: skip
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        told = [json.loads(process.communicate(timeout=600)[0]) for process in both]
        assert ["promoted"] * 2 == [t["outcome"] for t in told], told
        assert 1 == len({t["job"]["id"] for t in told})
        why = told[0]["why"]
        assert why["new"]["edge_j"] < why["old"]["edge_j"]
        digest = told[0]["bundle"]["digest"]
        operator = Operator(fog)
        wait_for(lambda: {digest} == {a.status.digest for a in operator.model("bumps").agents})
        assert {"1": "retired", "2": "active"} == operator.states("bumps")
        operator.channel.close()
    for sink in sinks:
        sequences = [json.loads(line)["sequence"] for line in sink.read_text().splitlines()]
        assert list(range(len(sequences))) == sorted(sequences)
