"""Whole runs on images: what is made, that it goes on where it was, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_run_case import (
    BUNDLE,
    FREEZE,
    PRUNE,
    Stopped,
    Stopper,
    draw_colours,
    run,
    write_recipe,
)

from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import Trust
from headtail.errors import PruningError
from headtail.segment import Chain
from optimizer import cli

pytestmark = [
    pytest.mark.tf,
    # Keras 3.15 saves its variables with numpy's old protocol.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
LIMITS = """
trials = 3
trial_epochs = 1
cost_weight = 0.5
min_diversity = 0.2
trains = "mask"
"""
MORE = FREEZE + PRUNE.format(more=LIMITS)
COSTS = "[costs]\nshares = [0.5, 1.0]\nepochs = 1\nrounds = 5\n"
STOPS = {
    "train": 5,
    "choose layers to train": 6,
    "fine-tune the chosen layers": 1,
    "search the threshold": 3,
    "prune and fine-tune": 7,
}
"""Looks at the progress after which a run is ended, by stage."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images."""
    return draw_colours(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, images: Path, key_folder: Path) -> Path:
    """Return the folder of a run with every stage."""
    folder = tmp_path_factory.mktemp("whole")
    run(write_recipe(folder, images, MORE), folder / "out", key_folder)
    return folder / "out"


@pytest.fixture
def bundle(finished: Path, trust: Trust) -> Bundle:
    """Return what the run made."""
    return read_bundle(finished / BUNDLE, trust)


@pytest.mark.slow
def test_bundle_says_colours_of_images_as_a_camera_gives_them(
    finished: Path, bundle: Bundle
) -> None:
    """Self-tested, with steps from pixels of any size, and as good as the report says."""
    chain = Chain(bundle)
    chain.self_test(bundle)
    manifest = bundle.manifest
    assert ("blue", "green", "red") == manifest.labels
    assert ["resize", "scale"] == [step.name for step in manifest.preprocess]
    told = json.loads((finished / "report.json").read_text())
    assert manifest.lineage.recipe["backbone"]["network"] == "SmallResNet"
    assert {"freeze", "prune"} <= manifest.lineage.recipe.keys()
    with np.load(finished / "test.npz") as test:
        x, y = test["x"], test["y"]
    assert (np.uint8, told["test"]["windows"]) == (x.dtype, len(y))
    from headtail.preprocess.pipeline import Pipeline

    pipeline = Pipeline(manifest.preprocess)
    name = manifest.inputs[0].name
    feed = {name: np.stack([pipeline.window(image) for image in x])}
    made = chain.run(feed, 0, len(manifest.segments))
    given = made[manifest.outputs[0].name].argmax(axis=1)
    assert told["test"]["accuracy"] == pytest.approx(float((given == y).mean()))
    assert told["test"]["accuracy"] > 0.8


@pytest.mark.slow
def test_mask_and_channels_are_as_the_recipe_says(finished: Path) -> None:
    """The head is always trained; the cost is within L after the last step."""
    told = json.loads((finished / "report.json").read_text())
    freezing, pruning = told["freezing"], told["pruning"]
    assert freezing["layers"]["head_logits"]
    assert freezing["trained_layers"] == sum(freezing["layers"].values())
    assert 2 == len(pruning["steps"])
    trials = pruning["trials"]
    assert 3 == len(trials)
    best = max((t for t in trials if t["is_valid"]), key=lambda t: t["profit"])
    assert best == trials[0]
    for trial in trials:
        cost = trial["macs"] / pruning["macs"]
        assert trial["profit"] == pytest.approx(trial["accuracy"] - 0.5 * cost)
        assert trial["macs"] <= 0.5 * pruning["macs"]
    assert pruning["steps"][-1]["macs"] <= best["macs"]
    assert pruning["steps"][-1]["macs"] <= 0.5 * pruning["macs"]
    assert pruning["steps"][0]["macs"] <= 0.5**0.5 * pruning["macs"]
    assert pruning["steps"][-1]["channels"] == sum(pruning["kept_channels"].values())


@pytest.mark.slow
def test_a_run_interrupted_in_every_stage_ends_with_the_same_digest(
    finished: Path, bundle: Bundle, images: Path, tmp_path: Path, key_folder: Path
) -> None:
    """It goes on behind the last epoch, individual or step, and leaves nothing else."""
    recipe, out = write_recipe(tmp_path, images, MORE), tmp_path / "out"
    for stage, after in STOPS.items():
        with pytest.raises(Stopped):
            run(recipe, out, key_folder, Stopper(stage, after))
        assert not (out / BUNDLE).exists()
    assert bundle.digest == run(recipe, out, key_folder).digest
    again = Stopper()
    assert bundle.digest == run(recipe, out, key_folder, again).digest
    assert "finished earlier" in again.said[0]
    left = {p.name for p in out.rglob("*") if p.is_file()}
    assert left == {p.name for p in finished.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("own_home")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[freeze]\nlayers = ["stem_con"]', r"\[freeze\] layers: .* received 'stem_con'"),
        ('[freeze]\nalways = ["nowhere"]', r"\[freeze\] always: .* received 'nowhere'"),
        ('[prune]\nkeep_layers = ["nowhere"]', r"\[prune\] keep_layers: .* received 'nowhere'"),
        ("[prune]\nmacs_share = 0.001", r"\[prune\] macs_share: expected at least 0\.\d+"),
        ("[partition.bounds]\nparameters = 9", r"none of .* within the bounds.* parameters"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, said: str
) -> None:
    """One line that names the key, and exit status 1."""
    out = tmp_path / "out"
    assert 1 == cli.main(["run", str(write_recipe(tmp_path, images, more)), "--out", str(out)])
    lines = capsys.readouterr().err.splitlines()
    assert re.search(f"^error: .*{said}", lines[-1])
    assert not any(line.startswith(("train ", "Traceback")) for line in lines)
    assert {"recipe.toml", "run.json"} == {p.name for p in out.iterdir()}


@pytest.mark.parametrize(
    "more", ["min_accuracy = 1.0\nimportance = 'l1'", "trials = 3\nmin_accuracy = 1.0"]
)
def test_an_a_min_that_cannot_be_met_is_said(
    images: Path, tmp_path: Path, key_folder: Path, more: str
) -> None:
    """With what was reached; no bundle is left."""
    recipe = write_recipe(tmp_path, images, PRUNE.format(more=more))
    with pytest.raises(PruningError, match=r"A_min: expected .*1"):
        run(recipe, tmp_path / "out", key_folder)
    assert not (tmp_path / "out" / BUNDLE).exists()


def test_a_model_without_convolutions_is_not_pruned(
    images: Path, tmp_path: Path, key_folder: Path
) -> None:
    """It says so before it trains."""
    import keras

    model = keras.Sequential(
        [keras.Input((12, 12, 3)), keras.layers.Flatten(), keras.layers.Dense(8)]
    )
    model.save(tmp_path / "dense.keras")
    recipe = write_recipe(tmp_path, images, PRUNE.format(more=""), tmp_path / "dense.keras", "")
    with pytest.raises(PruningError, match="expected convolutions to prune, received a model with"):
        run(recipe, tmp_path / "out", key_folder)


@pytest.mark.slow
def test_corrupt_images_are_named_and_counted(tmp_path: Path, key_folder: Path) -> None:
    """The run goes on without them; a mask by name, one convolution that stays whole, and costs."""
    folder = draw_colours(tmp_path / "images", 24)
    (folder / "red" / "005.png").write_bytes(b"\x89PNG but no more")
    more = '[freeze]\nlayers = ["head_logits"]\n[fine_tune]\nepochs = 1\n'
    more += PRUNE.format(more='keep_layers = ["stem_conv"]\nthreshold = 0.0\nmacs_share = 1.0')
    more = more.replace("macs_share = 0.5\n", "") + COSTS
    reporter = Stopper()
    result = run(write_recipe(tmp_path, folder, more), tmp_path / "out", key_folder, reporter)
    assert result.summary is not None
    assert any("1 images skipped, such as red/005.png" in line for line in reporter.said)
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (1, ["red/005.png"]) == (told["data"]["skipped"], told["data"]["skipped_files"])
    assert {"head_logits"} == {n for n, is_on in told["freezing"]["layers"].items() if is_on}
    kept = told["pruning"]["kept_layers"]
    assert 1 == len(kept)
    assert 4 == told["pruning"]["kept_channels"][kept[0]]
    _check_costs(told["costs"])
    assert "## Pruning" in (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1: red/005.png" in page
    assert not re.search(r"(src|href)=.(?!data:)", page)


def _check_costs(costs: dict[str, Any]) -> None:
    """Half of everything costs less than all of it; the whole model is as it was trained."""
    half, whole = costs["trained"]
    assert half["layers"] < whole["layers"]
    assert half["flops"] < whole["flops"]
    for row in (half, whole):
        assert row["modelled_j"] == pytest.approx(74.0 * row["epoch_s"])
    small, large = costs["retained"]
    for name in ("channels", "onnx_bytes", "parameters", "macs"):
        assert small[name] < large[name]
    assert small["latency_s"] > 0
    assert costs["own"]["channels"] <= large["channels"]
