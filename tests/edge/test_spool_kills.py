"""The agent killed at any moment: each sequence is in the sink once, each result is right."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

WINDOWS = 2500
KILLS = 3
MAIN = "from edge_agent.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def many(tmp_path_factory, model_folder):
    """Return a source of many windows, and what the uncut model says of each."""
    windows = np.random.default_rng(9).standard_normal((WINDOWS, 16, 2)).astype(np.float32)
    path = tmp_path_factory.mktemp("many") / "many.npz"
    np.savez(path, x=windows)
    whole = ort.InferenceSession(
        model_folder / "chain" / "whole.onnx", providers=["CPUExecutionProvider"]
    )
    return path, whole.run(["y"], {"x": windows})[0]


def size(path: Path) -> int:
    """Return a file's size; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def run_and_kill(command: list[str], grown: Path, after_bytes: int, delay_s: float) -> int | None:
    """Run the agent until the sink has grown so far and a little longer; return its status."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    stop = time.monotonic() + 30
    while process.poll() is None and size(grown) < after_bytes and time.monotonic() < stop:
        time.sleep(0.001)  # paces the looking
    try:
        process.wait(delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    text = process.communicate()[1].decode()
    assert process.returncode in {0, -signal.SIGKILL}, text
    return process.returncode


@pytest.mark.parametrize("path", ["edge", "fog"])
def test_killed_again_and_again(many, run_agent, start_fog, tmp_path, path):
    """With the whole model here, and with the tail in a fog that sees windows twice."""
    source, expected = many
    sink = tmp_path / "out.jsonl"
    settings = run_agent.settings
    command = [
        sys.executable,
        "-c",
        MAIN,
        "run",
        "--bundle",
        settings["bundle"],
        "--trust",
        settings["trust"],
        "--source",
        f"npz:{source}",
        "--sink",
        f"jsonl:{sink}",
        "--view",
        "off",
    ]
    command += ["--point", "3"] if path == "edge" else ["--fog", start_fog().address]
    rng = random.Random(11)
    statuses = []
    for _ in range(KILLS):
        after = size(sink) + rng.randrange(1, 100_000)
        statuses.append(run_and_kill(command, sink, after, rng.uniform(0, 0.02)))
        if statuses[-1] == 0:  # it was done before it could be killed
            break
    while statuses[-1] != 0:
        statuses.append(run_and_kill(command, sink, 1 << 40, 0.0))
    lines = [json.loads(line) for line in sink.read_text().splitlines()]
    assert list(range(WINDOWS)) == [line["sequence"] for line in lines]
    np.testing.assert_allclose(expected, [line["output"] for line in lines], rtol=1e-5, atol=1e-6)
