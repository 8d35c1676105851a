"""deploy/install.sh and deploy/enrol.sh: what they put where, below a folder of the test's own."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import msgspec
import pytest

from edge_agent.config import Config as EdgeConfig
from fog_server.config import Config as FogConfig
from headtail.bundle.keys import write_key_pair
from headtail.cli import main as headtail

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = {"edge": "edge-agent", "fog": "fog-server"}
CONFIGS = {"edge": EdgeConfig, "fog": FogConfig}
SCRIPTS = sorted(DEPLOY.rglob("*.sh"))
PYTHON = Path(sys.executable).resolve()
BIN = Path(sys.executable).parent


def install(
    role: str, *options: str | Path, python: Path = PYTHON, first: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run the installer of a role with a Python, with the programs of a folder before others."""
    return subprocess.run(
        [DEPLOY / role / "install.sh", *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHON": str(python), "PATH": f"{first}{os.environ['PATH']}"},
    )


def made_before(root: Path, role: str, wheel: Path) -> str:
    """Make an empty folder of the name that the programs of this wheel get, so none are made."""
    version = subprocess.run([PYTHON, "--version"], capture_output=True, check=True).stdout
    wanted = (DEPLOY / "requirements" / f"{role}.txt").read_bytes()
    digest = hashlib.sha256(version + wanted + wheel.read_bytes()).hexdigest()
    folder = root / "opt" / f"{PROGRAMS[role]}-{digest[:12]}"
    folder.mkdir(parents=True)
    (folder / ".ready").touch()
    return folder.name


@pytest.fixture
def wheels(tmp_path):
    """Return three files that stand for three versions."""
    paths = [tmp_path / f"headtail-{n}.whl" for n in "123"]
    for path in paths:
        path.write_text(path.name)
    return paths


@pytest.fixture
def authority(tmp_path):
    """Return a folder with an authority and the public key `site.pub`."""
    assert 0 == headtail(["ca", "init", str(tmp_path / "ca")])
    write_key_pair(tmp_path / "site.key", tmp_path / "site.pub")
    return tmp_path


def enrol(folder: Path, role: str, *more: str) -> Path:
    """Return what enrols edge/one or fog/one."""
    out = folder / f"{role}.tar"
    command = [DEPLOY / "enrol.sh", "--ca", folder / "ca", "--role", role, "--name", "one"]
    command += ["--trust", folder / "site.pub", "--out", out, *more]
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert 0 == done.returncode, done.stderr
    return out


def files(root: Path) -> dict[str, str]:
    """Return every file below a folder, with its mode."""
    found = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {f"/{p.relative_to(root)}": f"{p.stat().st_mode & 0o777:o}" for p in found}


@pytest.mark.skipif(not shutil.which("shellcheck", path=BIN), reason="needs shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(DEPLOY)))
def test_shellcheck_finds_nothing(script):
    command = [BIN / "shellcheck", "--severity=warning", "-x", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=script.parent)
    assert (0, "") == (done.returncode, done.stdout)


@pytest.mark.parametrize("role", PROGRAMS)
def test_dry_run_names_every_step_and_takes_none(role, tmp_path, wheels):
    build = "-m hatchling build -t wheel"
    for options, builds in (((), True), (("--wheel", wheels[0]), False)):
        done = install(role, "--dry-run", "--root", tmp_path / "r", *options)
        assert 0 == done.returncode, done.stderr
        assert not (tmp_path / "r").exists()
        for step in (
            f"install --only-binary :all: --require-hashes -r {DEPLOY}/requirements/{role}.txt",
            f"-m venv {tmp_path}/r/opt/",
        ):
            assert step in done.stdout
        assert builds == (build in done.stdout)


def test_reason_of_a_failed_build_is_said(tmp_path):
    """With a Python that does everything else, in whatever environment it makes."""
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh
        case "$2" in
          venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
          hatchling) echo "no such licence" >&2; exit 1 ;;
        esac
    """)
    python.chmod(0o755)
    done = install("edge", "--root", tmp_path / "r", python=python)
    assert 1 == done.returncode
    assert done.stderr.endswith("install: no such licence\n")
    assert not (tmp_path / "r").exists()


@pytest.fixture(scope="module")
def python_below(tmp_path_factory):
    """Return a folder with a Python of its own in `ann/venv`."""
    folder = tmp_path_factory.mktemp("people")
    command = [PYTHON, "-m", "venv", "--copies", "--without-pip", folder / "ann" / "venv"]
    subprocess.run(command, check=True)
    (folder / "link").symlink_to(folder / "ann" / "venv" / "bin" / "python")
    (folder / "ann-too").symlink_to(folder / "ann")
    return folder


@pytest.mark.parametrize(
    ("base", "uid", "home", "refused"),
    [
        ("/none", 1000, "{people}/ann", True),
        ("/none", 0, "{people}/ann/", True),
        ("/none", 1000, "{people}/ann-too", True),
        ("{people}", 1000, "/none", True),
        ("/none", 999, "{people}/ann", False),
        ("/none", 1000, "{people}/an", False),
        ("/", 1000, "/", False),
        ("", 0, "", False),
    ],
)
def test_python_in_a_home_is_refused(base, uid, home, refused, python_below, tmp_path, wheels):
    """One of root or a person, or where a new one would be; also through a link from elsewhere."""
    fakes = {"useradd": f"HOME={base}", "getent": f"ann:x:{uid}:1::{home}:/bin/sh"}
    for name, answer in fakes.items():
        line = answer.replace("{people}", str(python_below))
        (tmp_path / name).write_text(f'#!/bin/sh\n[ $# = 1 ] && echo "{line}"\n')
        (tmp_path / name).chmod(0o755)
    options = ("--dry-run", "--no-start", "--wheel", wheels[0])
    done = install("edge", *options, python=python_below / "link", first=f"{tmp_path}:")
    at = python_below / "ann" / "venv" / "bin" / "python"
    said = f"{at} is in a home, where services may not look"
    assert (refused, refused) == (done.returncode == 1, said in done.stderr), done.stderr
    assert refused != ("-m venv" in done.stdout)


@pytest.mark.parametrize("role", PROGRAMS)
def test_files_lie_where_the_unit_and_the_configuration_say(role, tmp_path, wheels, authority):
    """With certificates; the configuration is one the program takes."""
    root, program = tmp_path / "r", PROGRAMS[role]
    folder = made_before(root, role, wheels[0])
    more = ("--host", "127.0.0.1") if role == "fog" else ()
    bundle = tmp_path / "mitbih-1.bundle"
    bundle.touch()
    done = install(
        role, "--root", root, "--wheel", wheels[0], "--bundle", bundle,
        "--enrolment", enrol(authority, role, *more),
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    inside = "bundles/" if role == "fog" else ""
    expected = {
        f"/opt/{folder}/.ready": "644",
        f"/etc/headtail/{program}.toml": "644",
        f"/etc/systemd/system/{program}.service": "644",
        "/etc/headtail/tls/ca.pem": "644",
        f"/etc/headtail/tls/{role}.pem": "644",
        f"/etc/headtail/tls/{role}.key": "640",
        "/etc/headtail/trust/site.pub": "644",
        f"/var/lib/{program}/{inside}mitbih-1.bundle": "640",
    }
    if role == "fog":
        expected["/etc/headtail/tls/allow.toml"] = "644"
    assert expected == files(root)
    assert folder == (root / "opt" / program).readlink().name
    table = tomllib.loads((root / f"etc/headtail/{program}.toml").read_text())
    config = msgspec.convert(table, CONFIGS[role])
    named = str(msgspec.to_builtins(config))
    for path in expected:
        assert path not in named or (root / path[1:]).exists()
    assert f"/etc/headtail/tls/{role}.key" in named


def test_second_run_changes_what_it_is_told_and_nothing_else(tmp_path, wheels):
    """A key has the kind of its default; one that is set already is no change."""
    root = tmp_path / "r"
    made_before(root, "edge", wheels[0])
    options = ("edge", "--root", root, "--wheel", wheels[0])
    assert "edge-agent is installed, changed\n" in install(*options).stderr
    assert install(*options).stderr.endswith("edge-agent is installed\n")
    path = root / "etc/headtail/edge-agent.toml"
    before = path.read_text().splitlines()
    settings = ("fog=a.example:8500", "batch=4", "speed=max", "point=2", "insecure=true")
    done = install(*options, *(word for s in settings for word in ("--set", s)))
    assert "edge-agent is installed, changed\n" in done.stderr
    config = msgspec.convert(tomllib.loads(path.read_text()), EdgeConfig)
    assert ("a.example:8500", 4, "max", "2", True) == (
        config.fog, config.batch, config.speed, config.point, config.insecure,
    )  # fmt: skip
    after = path.read_text().splitlines()
    assert len(settings) == sum(a != b for a, b in zip(before, after, strict=True))
    assert install(*options, "--set", "batch=4").stderr.endswith("edge-agent is installed\n")
    assert 0 == install(*options, "--set", "speed=2").returncode
    assert 2 == msgspec.convert(tomllib.loads(path.read_text()), EdgeConfig).speed
    path.unlink()
    assert install(*options).stderr.endswith("edge-agent is installed, changed\n")
    assert before == path.read_text().splitlines()


def test_upgrade_keeps_one_version_to_go_back_to(tmp_path, wheels):
    root = tmp_path / "r"
    names = []
    for wheel in wheels:
        names.append(made_before(root, "edge", wheel))
        assert 0 == install("edge", "--root", root, "--wheel", wheel).returncode
    opt = root / "opt"
    assert names[2] == (opt / "edge-agent").readlink().name
    assert {names[1], names[2]} == {p.name for p in opt.iterdir() if not p.is_symlink()}
    assert 0 == install("edge", "--root", root, "--rollback").returncode
    assert names[1] == (opt / "edge-agent").readlink().name
    assert 0 == install("edge", "--root", root, "--rollback").returncode
    assert names[2] == (opt / "edge-agent").readlink().name


def test_uninstall_leaves_data_and_purge_leaves_the_other_program(tmp_path, wheels, authority):
    root = tmp_path / "r"
    for role, more in (("edge", ()), ("fog", ("--host", "127.0.0.1"))):
        made_before(root, role, wheels[0])
        tar = enrol(authority, role, *more)
        install(role, "--root", root, "--wheel", wheels[0], "--enrolment", tar)
    (root / "var/lib/edge-agent/results.jsonl").write_text("{}\n")
    assert 0 == install("edge", "--root", root, "--uninstall").returncode
    left = files(root)
    assert "/var/lib/edge-agent/results.jsonl" in left
    assert "/etc/headtail/tls/edge.key" in left
    assert not any("edge-agent" in p for p in left if p.startswith(("/opt", "/etc/systemd")))
    assert 0 == install("edge", "--root", root, "--uninstall", "--purge").returncode
    assert not [p for p in files(root) if "edge" in Path(p).name]
    assert {"/etc/headtail/tls/ca.pem", "/etc/headtail/tls/fog.key"} < files(root).keys()
    assert 0 == install("fog", "--root", root, "--uninstall", "--purge").returncode
    assert {} == files(root)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--wheel", "none.whl"], "none.whl: no such file"),
        (["--bundle"], "--bundle: expected a value"),
        (["--quick"], "--quick: no such option; --help lists them"),
        (["--purge"], "--purge goes with --uninstall"),
        (["--rollback"], "no version before this one"),
        (["--set", "fgo=a"], "edge-agent.toml has no key fgo"),
        (["--set", 'fog=a"b'], "expected KEY=VALUE"),
        (["--enrolment", "{wheel}"], "tar"),
        (["--bundle", "{wheel}", "--bundle", "{wheel}"], "--bundle: the agent runs one"),
    ],
)
def test_wrong_use_is_said_in_one_line(options, said, tmp_path, wheels):
    root = tmp_path / "r"
    made_before(root, "edge", wheels[0])
    given = (option.replace("{wheel}", str(wheels[0])) for option in options)
    done = install("edge", "--root", root, "--wheel", wheels[0], *given)
    assert 0 != done.returncode
    assert said in done.stderr


def test_enrolment_of_a_fog_holds_the_allow_list_and_its_host(authority):
    """The other role's does not, and none holds the authority's key."""
    for role, more, extra in (("edge", (), set()), ("fog", ("--host", "10.0.0.5"), {"allow.toml"})):
        with tarfile.open(enrol(authority, role, *more)) as tar:
            names = {m.name.removeprefix("./") for m in tar if m.isfile()}
            assert all(0o600 == m.mode for m in tar if m.isfile())
        assert {"ca.pem", f"{role}.pem", f"{role}.key", "trust/site.pub"} | extra == names
