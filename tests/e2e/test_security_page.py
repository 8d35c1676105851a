"""The commands of SECURITY.md, run as they stand in a folder of their own."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tls_site import Site

from programs import BIN, running

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60.0


def commands() -> list[list[str]]:
    """Return the words of the page's commands, our programs taken from this environment."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run one of our programs to its end."""
    program = [sys.executable, "-m", "headtail.cli"]
    if words[0] != "headtail":
        program = [str(BIN / words[0])]
    command = [*program, *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_the_commands_of_the_page_do_what_they_say(
    tmp_path, monkeypatch, write_test_bundle, key_folder
) -> None:
    """An authority, a fog, an agent that fetches and infers, and one that is struck off."""
    monkeypatch.chdir(tmp_path)
    write_test_bundle(tmp_path / "bundles")
    shutil.copytree(key_folder / "trust", tmp_path / "trust")
    np.savez(tmp_path / "windows.npz", x=np.zeros((5, 16, 2), np.float32))
    *prepare, serve, agent, revoke = commands()
    assert [""] * len(prepare) == [run(words).stderr for words in prepare]
    serve = [w.replace("0.0.0.0:8500", "0.0.0.0:0") for w in serve]
    with running(serve, tmp_path / "fog.log") as fog:
        port = fog.wait_for(r"serving on \S+:(\d+)")
        agent = [w.replace(":8500", f":{port}") for w in agent]
        served = run(agent)
        assert served.returncode == 0, served.stderr
        assert 5 == (tmp_path / "results.jsonl").read_text().count('"where":"fog"')
        said = fog.text.count("read again")
        assert run(revoke).returncode == 0
        site = Site(tmp_path / "ca", fog, f"127.0.0.1:{port}")
        site.poke(lambda: fog.text.count("read again") > said)
        shutil.rmtree(tmp_path / "state")
        refused = run([*agent, "--existing", "overwrite"])
        assert refused.returncode == 1
        assert "the certificate is revoked" in refused.stderr
        assert 1 == fog.text.count("denied edge/agent-7")


def test_every_file_that_the_page_names_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name
