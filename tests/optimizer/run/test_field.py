"""A run whose profiles the field corrects: another point, why, and the same when resumed."""

from pathlib import Path

import msgspec
import pytest
import run_case
from field_case import Ran, needs_prometheus, recorded

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from headtail.operations import Operations
from optimizer.run.field import FIELD
from optimizer.run_folder import RUN, RunFolder, RunRecord

pytestmark = [
    pytest.mark.tf,
    pytest.mark.usefixtures("tensorflow"),
    # Keras 3.15 saving a model under NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    needs_prometheus,
]
SECTIONS = """\
[train]
epochs = 1
[partition]
device_profile = "raspberry-pi-4"
link_profile = "loopback"
objective = "latency"
encodings = ["float32"]
points = "all"
[field]
prometheus = "{address}"
range = "5m"
min_windows = 50
"""
# The network of `run_case`: 32 x 1 to 8 x 1 by a kernel of 4, to 4 x 4 by one of 2, to 2 classes.
WHOLE = Operations(conv_macs=8 * 4 + 4 * 2 * 4, dense_macs=4 * 4 * 2)


def test_slow_link_moves_the_whole_model_to_the_edge(
    tmp_path: Path, key_folder: Path, trust: Trust
) -> None:
    """On the loopback of the profile every window went to the fog; it takes 51 ms really."""
    (tmp_path / "site").mkdir()
    out = tmp_path / "out"
    with recorded(tmp_path / "site", 0.01, Ran("bumps", 0, Operations(), WHOLE)) as address:
        recipe = run_case.write_recipe(tmp_path, SECTIONS.format(address=address))
        result = run_case.run(recipe, out, key_folder)
    manifest = read_bundle(result.bundle, trust).manifest
    last = len(manifest.segments)
    assert (3, last) == (manifest.format_version, manifest.default_point)
    assert manifest.profiles is not None
    assert ["loopback-field"] == [p.name for p in manifest.profiles.links]
    assert "prometheus" not in manifest.lineage.recipe["field"]

    field = msgspec.json.decode((out / "report.json").read_bytes())["field"]
    before, after = field["before"], field["after"]
    assert (0, last) == (before["point"], after["point"])
    # Seen: 2 us, 50 ms, 0.2 ms and 1 ms; predicted of a payload of 128 B and 200 B of framing.
    assert 0.0512 == pytest.approx(before["latency_s"], rel=0.02)
    assert 1e-4 == pytest.approx(before["by_old_profiles"]["latency_s"], rel=0.02)
    assert after["latency_s"] == after["head_s"] < 1e-3
    assert "no agent computed anything in a head" in " ".join(field["kept"])
    for name in ("report.md", "report.html"):
        text = (out / name).read_text(encoding="utf-8")
        assert "What the field said" in text
        assert f"At the corrected prices point {last} with float32 has the lesser latency" in text

    # Prometheus is gone by now: an interrupted run goes on with what it said.
    taught = (out / FIELD).read_bytes()
    result.bundle.unlink()
    record = msgspec.json.decode((out / RUN).read_bytes(), type=RunRecord)
    RunFolder(out).write_record(RUN, RunRecord(record.recipe_sha256, record.seed))
    assert result.digest == run_case.run(recipe, out, key_folder).digest
    assert taught == (out / FIELD).read_bytes()
