"""The installer on a whole machine: a throw-away copy of this one, its systemctl a script."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from headtail.bundle.keys import write_key_pair

DEPLOY = Path(__file__).parents[2] / "deploy"
PYTHON = Path("/usr/bin/python3")
# Says what it is asked; fails to start a service while the file `broken` names its version.
SYSTEMCTL = """#!/bin/sh
echo "$@" >>/var/log/systemctl
case "$*" in
  *restart*) ! grep -qxF "$(readlink /opt/edge-agent)" /var/log/broken 2>/dev/null ;;
  *is-active*) [ -e /opt/edge-agent ] ;;
esac
"""
# In mount and process namespaces of its own, on a copy that is written to memory.
ENTER = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/machine"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/machine"
mount -t proc proc "$1/machine/proc"
mount --rbind /dev "$1/machine/dev"
exec chroot "$1/machine" bash -c "$2"
"""


def has_venv() -> bool:
    """Return whether Debian's Python is one that the installer takes."""
    code = "import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
    return PYTHON.exists() and not subprocess.run([PYTHON, "-c", code], check=False).returncode


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a copy of this machine"),
    pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare"),
    pytest.mark.skipif(not has_venv(), reason="needs /usr/bin/python3 with venv, 3.11 to 3.13"),
]


@pytest.fixture
def on_a_copy(tmp_path):
    """Return a function that runs a shell script on a copy of this machine; changes go with it."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "systemctl").write_text(SYSTEMCTL)
    (files / "systemctl").chmod(0o755)
    for version in "12":
        (files / f"headtail-{version}.whl").write_text(version)
    write_key_pair(files / "site.key", files / "site.pub")
    wanted = DEPLOY / "requirements" / "edge.txt"
    begin = f"""
        set -u
        export PATH={files}:/usr/sbin:/usr/bin:/sbin:/bin
        unset PYTHON
        made() {{ # as if its programs had been made before
            id=$({{ {PYTHON} --version; cat {wanted} "$1"; }} | sha256sum | cut -c1-12)
            mkdir -p /opt/edge-agent-$id; touch /opt/edge-agent-$id/.ready; echo edge-agent-$id
        }}
        install_edge() {{ {DEPLOY}/edge/install.sh "$@"; }}
        one={files}/headtail-1.whl two={files}/headtail-2.whl
        first=$(made $one)
    """

    def run(script: str) -> "subprocess.CompletedProcess[str]":
        place = tmp_path / "copy"
        place.mkdir()
        command = ["unshare", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c"]
        done = subprocess.run(
            [*command, ENTER, "sh", place, begin + script],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "mount:" in done.stderr:
            pytest.skip(f"no overlay here: {done.stderr.strip()}")
        return done

    return run


def test_service_gets_a_user_files_of_its_own_and_a_start(on_a_copy):
    done = on_a_copy("""
        install_edge --wheel $one || exit
        getent passwd edge-agent | cut -d: -f6,7
        stat -c '%U %a %n' /var/lib/edge-agent /etc/headtail/edge-agent.toml
        cat /var/log/systemctl
        install_edge --wheel $one || exit
        tail -n 1 /var/log/systemctl
    """)
    assert 0 == done.returncode, done.stderr
    assert [
        "/var/lib/edge-agent:/usr/sbin/nologin",
        "edge-agent 750 /var/lib/edge-agent",
        "root 644 /etc/headtail/edge-agent.toml",
        "daemon-reload",
        "--quiet enable edge-agent",
        "restart edge-agent",
        "--quiet is-active edge-agent",  # the second time nothing has changed: no restart
    ] == done.stdout.splitlines()


def test_version_that_does_not_start_is_taken_back(on_a_copy):
    done = on_a_copy("""
        install_edge --wheel $one || exit
        made $two >>/var/log/broken
        install_edge --wheel $two
        echo "status $?"
        [ "$(readlink /opt/edge-agent)" = $first ] && echo the first runs
        tail -n 2 /var/log/systemctl
        install_edge --rollback
        echo "status $?"
    """)
    restarts = ["restart edge-agent"] * 2
    assert ["status 1", "the first runs", *restarts, "status 1"] == done.stdout.splitlines()
    assert done.stderr.endswith("install: no version before this one\n")
    assert "did not start; the version before runs again: journalctl -u edge-agent" in done.stderr


def test_uninstall_and_purge_leave_nothing(on_a_copy):
    done = on_a_copy("""
        install_edge --wheel $one && install_edge --uninstall --purge || exit
        ls -d /opt/edge-agent* /etc/headtail /var/lib/edge-agent \\
          /etc/systemd/system/edge-agent.service 2>/dev/null
        getent passwd edge-agent
        grep disable /var/log/systemctl
    """)
    assert ["--quiet disable --now edge-agent"] == done.stdout.splitlines(), done.stderr


def test_only_root_may(on_a_copy):
    done = on_a_copy(f"setpriv --reuid=65534 {DEPLOY}/edge/install.sh --wheel $one")
    assert 1 == done.returncode
    assert "expected root; say sudo" in done.stderr
