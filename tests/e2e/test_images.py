"""An image model from its recipe to agent and fog: the agent reads the photographs themselves."""

import json
from pathlib import Path

import pytest
from image_run_case import BUNDLE, PRUNE, draw_colours, write_recipe

from headtail.bundle.archive import read_bundle
from headtail.bundle.keys import read_trust
from programs import running

pytestmark = [pytest.mark.e2e, pytest.mark.tf, pytest.mark.slow]
MORE = """
[freeze]
layers = ["head_logits"]
[fine_tune]
epochs = 1
batch = 12
[partition]
points = "all"
"""
MORE += PRUNE.format(more="")


def test_a_pruned_model_runs_on_agent_and_fog_at_every_kind_of_point(
    run, key_folder: Path, tmp_path: Path
) -> None:
    """All in the fog, cut, and all on the edge: each says the colours that the folders say."""
    images = draw_colours(tmp_path / "images")
    recipe, out = write_recipe(tmp_path, images, MORE), tmp_path / "out"
    done = run("optimizer", "run", recipe, "--out", out, "--key", key_folder / "test.key")
    assert 0 == done.returncode, done.stderr
    seen = draw_colours(tmp_path / "seen", 6)
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (bundles / BUNDLE).write_bytes((out / BUNDLE).read_bytes())
    last = len(read_bundle(bundles / BUNDLE, read_trust(key_folder / "trust")).manifest.segments)
    trust = ("--trust", key_folder / "trust")
    fog = ("fog-server", "--bundles", bundles, "--listen", "127.0.0.1:0", *trust)
    with running(fog, tmp_path / "fog.log") as server:
        address = server.wait_for(r"serving on (\S+)")
        for point in (0, last // 2, last):
            sink = tmp_path / f"sink-{point}"
            done = run(
                "edge-agent", "run", "--bundle", bundles / BUNDLE, *trust, "--fog", address,
                "--point", str(point), "--source", f"images:{seen}", "--sink", f"jsonl:{sink}",
                "--connect-s", "20", "--deadline-s", "20", "--spool", "off",
            )  # fmt: skip
            assert 0 == done.returncode, done.stderr
            rows = [json.loads(line) for line in sink.read_text().splitlines()]
            assert 18 == len(rows)
            assert {"edge" if point == last else "fog"} == {row["where"] for row in rows}
            expected = ["blue"] * 6 + ["green"] * 6 + ["red"] * 6
            right = [row["label"] == label for row, label in zip(rows, expected, strict=True)]
            assert sum(right) >= 15
