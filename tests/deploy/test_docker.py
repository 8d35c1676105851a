"""Images and the compose file: linted, made of files that are there, started as programs allow."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

from edge_agent.cli import build_parser
from edge_agent.config import Config
from fog_server.cli import make_parser
from fog_server.cli import read_config as read_fog_config
from headtail.bundle.keys import write_key_pair
from optimizer.serve import serve_command

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "docker"
BIN = Path(sys.executable).parent
DOCKERFILES = sorted(FOLDER.glob("*Dockerfile"))
CONFIGS = {"fog-server": read_fog_config, "optimizer": serve_command.read_config}
PROGRAMS = {"Dockerfile": ["edge-agent", "fog-server"], "optimizer.Dockerfile": ["optimizer"]}


def optimizer_parser() -> argparse.ArgumentParser:
    """Return the optimizer's parser, with its one command that runs for long."""
    parser = argparse.ArgumentParser()
    serve_command.add_parser(parser.add_subparsers(required=True))
    return parser


PARSERS = {
    "edge-agent": build_parser,
    "fog-server": make_parser,
    "optimizer": optimizer_parser,
}


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", path.read_text())
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [tuple(line.split(maxsplit=1)) for line in lines]


def copied(path: Path) -> set[str]:
    """Return what a Dockerfile takes from the checkout."""
    listed = (
        words.split() for name, words in instructions(path) if name == "COPY" and "--" not in words
    )
    return {source for words in listed for source in words[:-1]}


@pytest.mark.skipif(not (BIN / "hadolint").exists(), reason="needs hadolint")
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_hadolint_finds_nothing(path):
    done = subprocess.run([BIN / "hadolint", path], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_what_is_copied_is_there_and_not_ignored(path):
    ignore = (FOLDER / f"{path.name}.dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    for source in copied(path):
        assert (ROOT / source).exists(), source
        assert any(source == a or source.startswith(f"{a}/") for a in allowed), source


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_copied_files_make_our_wheel(path, tmp_path):
    """In a folder that holds nothing else."""
    for source in copied(path):
        to = tmp_path / "src" / source
        to.parent.mkdir(parents=True, exist_ok=True)
        skip = shutil.ignore_patterns("__pycache__")
        whole = ROOT / source
        shutil.copytree(whole, to, ignore=skip) if whole.is_dir() else shutil.copy(whole, to)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    done = subprocess.run(
        command, cwd=tmp_path / "src", capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {"headtail", "edge_agent", "fog_server", "optimizer"} <= tops


def started(path: Path) -> list[tuple[str, argparse.Namespace]]:
    """Return the programs that a Dockerfile's images start, with their flags."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    program = ""
    found = []
    for name, words in instructions(path):
        if name == "ENTRYPOINT":
            program = Path(json.loads(words)[0]).name
            assert program in scripts
        if name == "CMD" and program in PARSERS:
            found.append((program, PARSERS[program]().parse_args(json.loads(words))))
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_programs_understand_how_they_are_started(path):
    assert PROGRAMS[path.name] == [program for program, _ in started(path)]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_servers_are_reached_from_outside_and_ask_for_certificates(path):
    """With the configuration that the image holds."""
    placed = dict(
        reversed(words.split()) for name, words in instructions(path)
        if name == "COPY" and words.endswith(".toml")
    )  # fmt: skip
    for program, flags in started(path):
        if program in CONFIGS:
            flags.config = ROOT / placed[str(flags.config)]
            config = CONFIGS[program](flags)
            assert config.listen.startswith("0.0.0.0:")
            assert not config.insecure
            assert all((config.tls.ca, config.tls.cert, config.tls.key, config.tls.allow))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_every_image_runs_as_nobody_special_and_says_when_it_is_well(path):
    """Images that are given away: those no other stage builds on."""
    stages: dict[str, tuple[str, list[str]]] = {}
    current = ""
    for name, words in instructions(path):
        if name == "FROM":
            base, _, current = words.partition(" AS ")
            stages[current] = (base, [])
        else:
            stages[current][1].append(f"{name} {words}")
    final = [s for s in stages if s in ("edge", "fog", "fog-gpu", "")]
    assert final
    for stage in final:
        lines: list[str] = []
        while stage in stages:
            base, own = stages[stage]
            lines, stage = own + lines, base
        assert "USER 10001" in lines
        assert any(line.startswith("HEALTHCHECK") for line in lines)


@pytest.fixture
def site(tmp_path):
    """Return the folder that `prepare.sh` makes."""
    write_key_pair(tmp_path / "site.key", tmp_path / "site.pub")
    (tmp_path / "m-1.bundle").write_bytes(b"bundle")
    np.savez(tmp_path / "w.npz", x=np.zeros((2, 3), np.float32))
    command = [FOLDER / "prepare.sh", "--bundle", tmp_path / "m-1.bundle"]
    command += ["--trust", tmp_path / "site.pub", "--source", tmp_path / "w.npz"]
    environment = {"SITE": str(tmp_path / "site"), "PATH": f"{BIN}:{os.environ['PATH']}"}
    for _ in range(2):  # the second finds all there
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | environment
        )
        assert 0 == done.returncode, done.stderr
    return tmp_path / "site"


def test_prepared_site_holds_what_the_compose_file_mounts(site):
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    mounts = [v.split(":")[0] for s in services.values() for v in s.get("volumes", [])]
    for path in mounts:
        if path.startswith("./site/"):
            assert (site / path.removeprefix("./site/")).exists(), path
        elif path.startswith("."):
            assert (FOLDER / path).exists(), path
    config = msgspec.convert(tomllib.loads((site / "edge/edge-agent.toml").read_text()), Config)
    assert (site / "edge/state" / Path(config.bundle).name).exists()
    assert (site / "edge/tls" / Path(config.tls_key).name).exists()
    assert {"ca.pem", "fog.pem", "fog.key", "allow.toml"} == {
        p.name for p in (site / "fog/tls").iterdir()
    }
    assert "edge/agent-1" in (site / "fog/tls/allow.toml").read_text()


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool")
def test_prometheus_within_compose_has_the_same_rules(tmp_path):
    shutil.copytree(FOLDER.parent / "prometheus", tmp_path, dirs_exist_ok=True)
    shutil.copy(FOLDER / "prometheus.yml", tmp_path)
    done = subprocess.run(
        ["promtool", "check", "config", "prometheus.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    within, outside = (
        yaml.safe_load((folder / "prometheus.yml").read_text())["rule_files"]
        for folder in (FOLDER, FOLDER.parent / "prometheus")
    )
    assert within == outside


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="needs docker-compose")
def test_compose_accepts_its_file():
    command = ["docker-compose", "-f", FOLDER / "compose.yaml", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
