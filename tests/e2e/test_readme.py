"""The commands of README.md, run as they stand in a folder of their own."""

import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest

from programs import BIN, running

pytestmark = [pytest.mark.e2e, pytest.mark.tf]
ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 240.0


def commands(heading: str) -> list[str]:
    """Return the shell commands below a heading of README.md, continued lines joined."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in joined.splitlines() if line.strip()]


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def prepared(command: str, ports: dict[str, int]) -> list[str]:
    """Return a command's words with our programs' folder and free ports."""
    for documented, port in ports.items():
        command = command.replace(f":{documented}", f":{port}")
    return shlex.split(command.replace(".venv/bin/", f"{BIN}/"))


def test_the_commands_of_use_it_do_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train, inspect, split, serve and run, with a new user's empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    model = (ROOT / "tests" / "testdata" / "chain" / "whole.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(model)
    *first, serve, last = commands("Use it")
    for command in first:
        words = prepared(command, {})
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    assert (tmp_path / "model.bundle").exists()
    ports = {"8500": free_port(), "9500": free_port(), "9501": free_port()}
    serving, agent = prepared(serve, ports), prepared(last, ports)
    assert serving[0].endswith("fog-server")
    assert agent[0].endswith("edge-agent")
    with running(serving, tmp_path / "fog.log") as fog:
        fog.wait_for(r"serving on (\S+)")
        done = subprocess.run(agent, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results.jsonl").read_text().count('"where":"fog"') > 1000


def test_every_file_and_target_named_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)$", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in {a or b for a, b in targets}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for path in re.findall(r"\]\(([^)#:]+)\)|`([a-z_]+(?:/[\w.-]+)+\.toml)`", text):
        name = path[0] or path[1]
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("program", ["optimizer", "edge-agent", "fog-server"])
def test_every_program_says_its_version_and_teaches(program: str) -> None:
    """`--help` ends with examples."""
    environment = os.environ | {"COLUMNS": "100"}
    for flag, expected in (("--version", r"^[a-z-]+ \d+\.\d+\.\d+$"), ("--help", "examples:")):
        done = subprocess.run(
            [BIN / program, flag], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0
        assert re.search(expected, done.stdout, re.MULTILINE)
