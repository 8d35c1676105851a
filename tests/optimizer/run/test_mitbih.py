"""The shipped recipes on the real data."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from run_case import PROGRAM, SECONDS

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust

RECIPES = Path(__file__).parents[3] / "recipes"
DATA = Path(os.environ.get("HEADTAIL_DATA", "")) / "mitdb" / "100.hea"

pytestmark = [
    pytest.mark.tf,
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("HEADTAIL_DATA") or not DATA.is_file(),
        reason="HEADTAIL_DATA does not lead to MIT-BIH",
    ),
]


def run(recipe: str, out: Path, key_folder: Path, *flags: str) -> str:
    """Run a shipped recipe as a process; return what it printed."""
    command = [*PROGRAM, "run", str(RECIPES / recipe), "--out", str(out)]
    done = subprocess.run(
        [*command, "--key", str(key_folder / "test.key"), *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_demo_recipe_learns_from_patients_it_is_not_tested_on(
    tmp_path: Path, key_folder: Path, trust: Trust
) -> None:
    """Better than always-N in macro-F1, which for it is 0.235."""
    stdout = run("demo.toml", tmp_path / "out", key_folder)
    assert "SYNTHETIC" not in stdout
    manifest = read_bundle(tmp_path / "out" / "ecg-demo-2.bundle", trust).manifest
    metrics = {(m.name, m.split): m.value for m in manifest.metrics}
    assert {"inter_patient"} == {m.protocol for m in manifest.metrics}
    assert metrics["macro_f1", "test"] > 0.45
    assert metrics["accuracy", "test"] > 0.85
    assert 0 < manifest.default_point < len(manifest.segments)


def test_paper_recipe_finds_the_papers_cut_and_energy(
    tmp_path: Path, key_folder: Path, trust: Trust
) -> None:
    """AC-2: 24 values cross, 311 parameters on the edge, 0.253 mJ."""
    run("mitbih-paper.toml", tmp_path / "out", key_folder)
    bundle = read_bundle(tmp_path / "out" / "mitbih-paper-1.bundle", trust)
    point = bundle.manifest.points[bundle.manifest.default_point]
    cost = next(c for c in point.costs if c.encoding is bundle.manifest.default_encoding)
    assert (point.flash_bytes, point.encodings[0].bytes) == (311 * 4, 24 * 4)
    assert pytest.approx(0.253e-3, rel=0.0175) == cost.edge_j
    assert msgspec.json.decode(bundle.report)["is_synthetic"] is False
