"""From real inputs to a better-calibrated bundle: recipe, fog, agent, sample, labels, recipe."""

import json
from pathlib import Path

import numpy as np
import pytest
import run_case

from headtail.bundle.archive import read_bundle
from headtail.bundle.keys import read_trust
from headtail.captured import read_shard
from headtail.wire import Encoding
from programs import running

pytestmark = [pytest.mark.e2e, pytest.mark.tf]
TRAIN = "[train]\nepochs = 2\n[partition]\npoints = 'all'\n"
COUNT = 60


@pytest.fixture(scope="module")
def first(run, key_folder, tmp_path_factory) -> Path:
    """Return the folder of a run without captured inputs."""
    folder = tmp_path_factory.mktemp("first")
    recipe = run_case.write_recipe(folder, TRAIN)
    return made(run, recipe, folder / "out", key_folder)


def made(run, recipe: Path, out: Path, key_folder: Path) -> Path:
    """Run a recipe as a process; return its folder."""
    done = run("optimizer", "run", recipe, "--out", out, "--key", key_folder / "test.key")
    assert 0 == done.returncode, done.stderr
    return out


def listed(run, folder: Path) -> list[dict[str, object]]:
    """Return the windows that a folder keeps."""
    done = run("fog-server", "captured", "--windows", "--json", "--folder", folder)
    assert 0 == done.returncode, done.stderr
    return [w for model in json.loads(done.stdout)["models"] for w in model["listed"]]


def test_what_agents_saw_makes_the_next_bundle(first, run, key_folder, tmp_path):
    """The inputs of another place: louder, and labelled there; then they are deleted."""
    x, y = run_case.bumps(COUNT, np.random.default_rng(77))
    np.savez(tmp_path / "seen.npz", x=10 * x)
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (bundles / run_case.BUNDLE).write_bytes((first / run_case.BUNDLE).read_bytes())
    captured, trust = bundles / "capture", ("--trust", key_folder / "trust")
    fog = ("fog-server", "--bundles", bundles, "--capture", "--listen", "127.0.0.1:0", *trust)
    with running(fog, tmp_path / "fog.log") as server:
        done = run(
            "edge-agent", "run", "--bundle", bundles / run_case.BUNDLE, *trust,
            "--fog", server.wait_for(r"serving on (\S+)"), "--point", "1", "--agent", "ward-3",
            "--source", f"npz:{tmp_path / 'seen.npz'}", "--sink", f"jsonl:{tmp_path / 'out'}",
            "--connect-s", "20", "--deadline-s", "20", "--capture-ratio", "1",
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr
    windows = listed(run, captured)
    assert list(range(COUNT)) == sorted(w["sequence"] for w in windows)
    kept = [read_shard(path) for path in captured.rglob("*.npz")]
    seen = {w.tobytes() for shard in kept for w in shard.inputs[0]}
    assert {w.astype("f4").tobytes() for w in 10 * x} == seen
    assert not any(b"ward-3" in path.read_bytes() for path in captured.rglob("*.npz"))

    labels = tmp_path / "labels"
    labels.mkdir()
    half = [f"{w['id']},{y[w['sequence']]}\n" for w in windows if w["sequence"] % 2]
    (labels / "ward.csv").write_text("id,label\n" + "".join(half))
    field = f'[field]\ncaptured = "{captured}"\nlabels = "{labels}"\n'
    recipe = run_case.write_recipe(tmp_path, TRAIN + field)
    second = made(run, recipe, tmp_path / "out-2", key_folder)
    note = json.loads((second / "report.json").read_text())["data"]["captured"]
    assert (COUNT, COUNT // 2, {}) == (note["windows"], note["labelled"], note["left_out"])
    assert 1 == note["agents"]
    for page in ("report.md", "report.html"):
        assert "60 windows, 30 of them labelled" in (second / page).read_text()
    before, after = (
        read_bundle(folder / run_case.BUNDLE, read_trust(key_folder / "trust")).manifest
        for folder in (first, second)
    )
    assert note == after.lineage.data["captured"]
    assert "captured" not in before.lineage.data
    # Ten times as loud: int8 at point 0 reaches as far as what the agent saw.
    wires = [manifest.points[0].wire(Encoding.INT8) for manifest in (before, after)]
    scales = [next(iter(wire.affine.values())).scale for wire in wires]
    assert scales[1] > 5 * scales[0]
    done = run("fog-server", "forget", "--all", "--folder", captured)
    assert (0, f"bumps: {COUNT} windows deleted\n") == (done.returncode, done.stdout)
    assert [] == listed(run, captured)
