"""An agent and a fog of two workers, each of which is killed in turn: every window is answered."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from programs import BIN, Program, running

pytestmark = pytest.mark.e2e
WINDOW = b"%a\n" % ([[0.5, 1.5]] * 16)
WAIT_S = 60.0
COMES_BACK = r"ended by SIGKILL.*?serving on \S+ \[worker \d\].*?"


def answered(path: Path) -> list[dict]:
    """Return the results so far; a line that is still being written is none."""
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_until(condition) -> None:
    """Wait until something holds."""
    tries = threading.Event()
    for _ in range(round(WAIT_S / 0.02)):
        if condition():
            return
        tries.wait(0.02)
    raise AssertionError("waited too long")


class Feed:
    """An agent's standard input, one window at a time, and what comes of it."""

    def __init__(self, agent: "subprocess.Popen[bytes]", out: Path) -> None:
        """Begin with no window sent."""
        self._agent = agent
        self._out = out
        self.sent = 0

    def send_until_the_fog_answers(self) -> None:
        """Send windows; each is answered, by whomever, before the next one leaves."""
        for _ in range(1000):
            self._agent.stdin.write(WINDOW)
            self._agent.stdin.flush()
            self.sent += 1
            wait_until(lambda: len(answered(self._out)) == self.sent)
            if answered(self._out)[-1]["where"] == "fog":
                return
        raise AssertionError("the fog never answered")


def test_no_window_is_lost_when_workers_are_killed(write_test_bundle, key_folder, tmp_path):
    """What was under way is finished by the agent; then it goes on with the other worker."""
    bundle, out = write_test_bundle(tmp_path), tmp_path / "out.jsonl"
    trust = ("--trust", key_folder / "trust")
    fog = ("fog-server", "--workers", "2", "--bundles", tmp_path, "--listen", "127.0.0.1:0", *trust)
    agent = (
        BIN / "edge-agent", "run", "--bundle", bundle, "--source", "stdin",
        "--sink", f"jsonl:{out}", "--spool", "off", "--connect-s", "20", "--deadline-s", "20",
        *trust,
    )  # fmt: skip
    with running(fog, tmp_path / "fog.log") as server, (tmp_path / "edge.log").open("wb") as log:
        command = [*agent, "--fog", server.wait_for(r"supervisor: serving on (\S+)$")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log) as process:
            edge, feed = Program(process, tmp_path / "edge.log"), Feed(process, out)
            edge.wait_for("fog (connected)")
            feed.send_until_the_fog_answers()
            for number, worker in enumerate(children(server.process.pid), start=1):
                os.kill(worker, signal.SIGKILL)
                feed.send_until_the_fog_answers()
                server.wait_for(rf"(?s)((?:{COMES_BACK}){{{number}}})")
            process.stdin.close()
            assert 0 == process.wait(WAIT_S), edge.text
        assert list(range(feed.sent)) == sorted(line["sequence"] for line in answered(out))


def children(pid: int) -> list[int]:
    """Return the processes that a program started, the oldest first."""
    paths = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for path in paths for child in path.read_text().split())
