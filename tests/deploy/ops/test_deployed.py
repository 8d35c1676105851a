"""What is installed of the webhook: unit, configuration and page, held together."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from headtail.config import read_toml
from reoptimization.flags import make_parser
from reoptimization.outcome import Code
from reoptimization.webhook_config import Config

OPS = Path(__file__).parents[3] / "deploy" / "ops"
UNIT, GUIDE = OPS / "reoptimize-webhook.service", (OPS / "README.md").read_text()
KEYS = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def test_deployed_configuration_has_every_key_at_its_default():
    """The commented file says what the program does without it, but for what it names."""
    config = read_toml(OPS / "reoptimize-webhook.toml", Config)
    text = (OPS / "reoptimize-webhook.toml").read_text()
    (run,) = config.runs
    for part in (config, config.tls, run):
        for key in part.__struct_fields__:
            assert re.search(rf"^(\[+{key}\]+|{key} = )", text, re.MULTILINE), key
    named = {"secret", "state", "tls", "runs", "name", "reasons", "recipe", "fog", "optimizer"}
    for part, usual in ((config, Config()), (run, type(run)("a", ("b",), "c"))):
        for key in set(part.__struct_fields__) - named:
            assert getattr(usual, key) == getattr(part, key), key


def test_unit_starts_what_the_guide_installs():
    program, script, *flags = KEYS["ExecStart"].split()
    assert ("/opt/optimizer/bin/python", "/opt/optimizer/ops/reoptimize-webhook") == (
        program, script,
    )  # fmt: skip
    assert ["--config", "/etc/headtail/reoptimize-webhook.toml"] == flags
    config = read_toml(OPS / "reoptimize-webhook.toml", Config)
    for path in (config.secret, config.tls.ca, config.tls.cert, config.tls.key, flags[1]):
        assert path in GUIDE
    assert config.state.startswith(f"/var/lib/{KEYS['StateDirectory']}/")
    assert (KEYS["User"], KEYS["Group"]) == ("reoptimize", "reoptimize")


def test_systemd_is_told_and_watches():
    assert ("notify", "main") == (KEYS["Type"], KEYS["NotifyAccess"])
    assert int(KEYS["WatchdogSec"]) > 0
    assert ("on-failure", "0") == (KEYS["Restart"], KEYS["LimitCORE"])


@analyze
def test_systemd_finds_nothing_wrong(tmp_path):
    """With a program in the place of ours, which need not be installed here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/optimizer/bin/python", shutil.which("true")))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@analyze
def test_unit_is_confined():
    """By systemd's own count of what a service could reach; 10 is everything."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout[-400:]


def test_every_exit_code_is_told():
    """In the help and on the page."""
    told = make_parser().epilog
    for code in Code:
        assert re.search(rf"(?:^|   |\n  ){int(code)} ", told), code
        assert f"| {int(code)} |" in GUIDE, code


@pytest.mark.parametrize("name", ["reoptimize", "reoptimize-webhook"])
def test_scripts_can_be_called_as_they_lie(name):
    """From any folder, by cron or Ansible, with the system's Python."""
    script = OPS / name
    assert script.stat().st_mode & stat.S_IXUSR
    done = subprocess.run(
        [script, "--help"], capture_output=True, text=True, check=False, cwd="/",
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith(f"usage: {name} ")
