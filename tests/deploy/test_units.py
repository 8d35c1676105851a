"""The systemd units, the files they start with, and the guide, held together."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_agent.cli import build_parser
from fog_server.cli import make_parser
from fog_server.config import Config

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = {"edge-agent": DEPLOY / "edge", "fog-server": DEPLOY / "fog"}
GUIDE = (DEPLOY / "README.md").read_text()
analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def keys(name: str) -> dict[str, str]:
    """Return a unit's settings; of one that stands twice, the last."""
    text = (UNITS[name] / f"{name}.service").read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("name", UNITS)
def test_systemd_is_told_and_watches(name):
    unit = keys(name)
    assert ("notify", "main") == (unit["Type"], unit["NotifyAccess"])
    assert int(unit["WatchdogSec"]) > 0
    assert "on-failure" == unit["Restart"]
    assert "0" == unit["LimitCORE"], "a core file would hold the private key"


@pytest.mark.parametrize(
    ("name", "parse"), [("edge-agent", build_parser), ("fog-server", make_parser)]
)
def test_program_understands_its_command_line(name, parse):
    program, *arguments = keys(name)["ExecStart"].split()
    assert f"/opt/{name}/bin/{name}" == program
    assert f"/etc/headtail/{name}.toml" == str(parse().parse_args(arguments).config)


def test_stop_outlasts_the_drain():
    wire = Config().wire
    assert int(keys("fog-server")["TimeoutStopSec"]) > wire.drain_s + 2 * wire.settle_s


@pytest.mark.parametrize("name", UNITS)
def test_files_lie_where_the_guide_says(name):
    """The service's own in its state folder, the rest below /etc/headtail."""
    unit = keys(name)
    assert (name, name, name) == (unit["User"], unit["Group"], unit["StateDirectory"])
    assert f"HOME=/var/lib/{name} " in unit["Environment"] + " "
    paths = re.findall(r"/(?:var|etc)/[\w./-]+", (UNITS[name] / f"{name}.toml").read_text())
    assert paths
    for path in map(Path, paths):
        assert Path(f"/var/lib/{name}") in path.parents or Path("/etc/headtail") in path.parents
    for path in (f"/opt/{name}", f"/var/lib/{name}", "/etc/headtail/tls"):
        assert f"`{path}`" in GUIDE


@analyze
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong(name, tmp_path):
    """With a program in the place of ours, which need not be installed here."""
    text = (UNITS[name] / f"{name}.service").read_text()
    unit = tmp_path / f"{name}.service"
    unit.write_text(text.replace(f"/opt/{name}/bin/{name}", shutil.which("true")))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@analyze
@pytest.mark.parametrize("name", UNITS)
def test_unit_is_confined(name):
    """By systemd's own count of what a service could reach; 10 is everything."""
    unit = UNITS[name] / f"{name}.service"
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout[-400:]
