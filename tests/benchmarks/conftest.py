"""What the benchmarks share: a trained bundle, and a fog server on a core of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from programs import BIN, Program, running

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what `optimizer run recipes/synthetic.toml` makes."""
    folder = tmp_path_factory.mktemp("run") / "out"
    recipe = ROOT / "recipes" / "synthetic.toml"
    command = [BIN / "optimizer", "run", recipe, "--out", folder]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def bundle_path(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the trained bundle, alone in its folder."""
    (written,) = run_folder.glob("*.bundle")
    return Path(shutil.copy(written, tmp_path_factory.mktemp("bundles")))


@pytest.fixture(scope="session")
def windows_path(run_folder: Path) -> Path:
    """Return an .npz of windows that training never saw."""
    return run_folder / "test.npz"


@pytest.fixture(scope="session")
def cores() -> Iterator[tuple[int, int]]:
    """Pin this process to the first core it may use and return it with the other programs' core."""
    allowed = sorted(os.sched_getaffinity(0))
    mine, theirs = allowed[0], allowed[-1]
    os.sched_setaffinity(0, {mine})
    yield mine, theirs
    os.sched_setaffinity(0, set(allowed))


@pytest.fixture(scope="session")
def fog(
    bundle_path: Path, cores: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """Run a fog server for the trained bundle on a core of its own."""
    command = ["fog-server", "--bundles", bundle_path.parent, "--listen", "127.0.0.1:0"]
    with running(command, tmp_path_factory.mktemp("fog") / "log", cores[1]) as fog:
        fog.wait_for(r"(serving) on")
        yield fog


@pytest.fixture(scope="session")
def fog_address(fog: Program) -> str:
    """Return where it serves."""
    return fog.wait_for(r"serving on (\S+)")
