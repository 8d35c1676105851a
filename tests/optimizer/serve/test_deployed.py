"""What is installed: the unit, its configuration and the page about them, held together."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from headtail.config import read_toml
from headtail.errors import ConfigError
from optimizer.serve import serve_command
from optimizer.serve.config import Config

DEPLOY = Path(__file__).parents[3] / "deploy" / "optimizer"
UNIT, GUIDE = (DEPLOY / "optimizer.service"), (DEPLOY / "README.md").read_text()
KEYS = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def parse(*words: str) -> argparse.Namespace:
    """Return the flags of a command line of `optimizer`."""
    parser = argparse.ArgumentParser()
    serve_command.add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(words)


def test_every_flag_has_its_key():
    """Flags mirror keys, one to one."""
    flags = vars(parse("serve")).keys() - {"config", "handler"}
    assert flags == serve_command.FLAGS.keys()
    for flag, path in serve_command.FLAGS.items():
        section, _, key = path.rpartition(".")
        assert hasattr(getattr(Config(), section) if section else Config(), key)
        assert flag in (key, f"{section}_{key}")


def test_deployed_configuration_has_every_key_at_its_default():
    """The commented file says what the program does without it, but for what it names."""
    config = read_toml(DEPLOY / "optimizer.toml", Config)
    text = (DEPLOY / "optimizer.toml").read_text()
    names = ("capacity", "field", "limits", "wire", "tls")
    sections = (Config(), *(getattr(Config(), name) for name in names))
    for section in sections:
        for key in section.__struct_fields__:
            assert re.search(rf"^(\[{key}\]|{key} = )", text, re.MULTILINE), key
    assert (Config().capacity, Config().limits) == (config.capacity, config.limits)
    assert Config().wire == config.wire


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "optimizer.toml"
    file.write_text('state = "a"\nlisten = "0.0.0.0:1"\n[capacity]\ncpus = 7\n[limits]\nkept = 3\n')
    arguments = ["--config", str(file), "--cpus", "2", "--paths", "/b", "--paths", "/c"]
    config = serve_command.read_config(parse("serve", *arguments))
    assert ("a", "0.0.0.0:1", ("/b", "/c")) == (config.state, config.listen, config.paths)
    assert (2, 3) == (config.capacity.cpus, config.limits.kept)


def test_wrong_key_is_named_with_its_file(tmp_path):
    file = tmp_path / "optimizer.toml"
    file.write_text("[limits]\nkeep = 3\n")
    with pytest.raises(ConfigError, match=r"optimizer\.toml: .*`keep`.*limits"):
        serve_command.read_config(parse("serve", "--config", str(file)))
    with pytest.raises(ConfigError, match=r"flags: Expected `int` >= 0 - at `\$\.capacity\.cpus`"):
        serve_command.read_config(parse("serve", "--cpus", "-1"))


def test_unit_starts_what_the_guide_installs():
    program, command, *flags = KEYS["ExecStart"].split()
    assert ("/opt/optimizer/bin/optimizer", "serve") == (program, command)
    assert Path("/etc/headtail/optimizer.toml") == parse("serve", *flags).config
    for path in DEPLOY.iterdir():
        if path.name != "README.md":
            assert f"deploy/optimizer/{path.name} /etc/" in GUIDE
    config = read_toml(DEPLOY / "optimizer.toml", Config)
    for path in (config.key, config.tls.ca, config.tls.cert, config.tls.key, config.tls.allow):
        assert path in GUIDE
    assert config.state.startswith(f"/var/lib/{KEYS['StateDirectory']}/")


def test_systemd_is_told_watches_and_waits_for_the_jobs():
    assert ("notify", "main", "mixed") == (KEYS["Type"], KEYS["NotifyAccess"], KEYS["KillMode"])
    assert int(KEYS["TimeoutStopSec"]) > Config().wire.stop_s + 10
    assert int(KEYS["WatchdogSec"]) > 60, "a round of the scheduler may take so long"
    assert ("0", "continue") == (KEYS["LimitCORE"], KEYS["OOMPolicy"])


@analyze
def test_systemd_finds_nothing_wrong(tmp_path):
    """With a program in the place of ours, which need not be installed here."""
    unit = tmp_path / "optimizer.service"
    unit.write_text(UNIT.read_text().replace("/opt/optimizer/bin/optimizer", shutil.which("true")))
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
