"""Tests of a whole comparison: every method, its budget, and going on after a kill."""

from pathlib import Path

import numpy as np
import pytest
from rivals_case import KilledError, Quiet, write_recipe

from headtail.errors import ConfigError
from optimizer.recipe.rivals import METHODS, read_rivals_recipe

pytestmark = [
    pytest.mark.tf,
    # Keras 3.15 saves its variables with numpy's old protocol.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def finished(tensorflow: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished comparison of all methods."""
    from optimizer.rivals.run import RivalsRequest, run_rivals

    folder = tmp_path_factory.mktemp("rivals")
    recipe = write_recipe(folder, list(METHODS))
    run_rivals(RivalsRequest(recipe, folder / "out"), Quiet())
    return folder / "out"


def read(folder: Path) -> dict[str, object]:
    """Return the rows of a table by method."""
    import msgspec

    from optimizer.rivals.record import RivalsRecord

    record = msgspec.json.decode((folder / "rivals.json").read_bytes(), type=RivalsRecord)
    return {row.method: row for row in record.rows}


def test_every_method_has_a_row(finished: Path) -> None:
    """The two rows of the unpruned network come first; losses are against them."""
    rows = read(finished)
    assert list(rows)[:2] == ["unpruned", "trained_on"]
    assert set(rows) == {"unpruned", "trained_on", *METHODS}
    for row in rows.values():
        assert row.split == "test"
        expected = rows["unpruned"].accuracy.mean - row.accuracy.mean
        assert row.loss.mean == pytest.approx(expected)
        assert row.latency_ratio.mean > 0
        assert row.energy_j.mean >= 0
    assert rows["unpruned"].latency_ratio.mean == 1
    assert rows["unpruned"].loss_trained_on is None
    assert rows["trained_on"].loss_trained_on.mean == 0


def test_pruning_keeps_to_its_share(finished: Path) -> None:
    """Pruned rows cost at most half, the others the whole; all of them had the same epochs."""
    from optimizer.recipe.rivals import CRITERIA
    from optimizer.rivals.record import Cell
    from optimizer.run_folder import RunFolder

    rows = read(finished)
    whole = rows["unpruned"].macs.mean
    for method, row in rows.items():
        is_pruned = method in CRITERIA
        assert (row.macs.mean <= 0.5 * whole) if is_pruned else (row.macs.mean == whole)
        assert (row.before is not None) == (is_pruned or method == "quantise")
        if method != "unpruned":
            cell = RunFolder(finished / "seed-3").read_record(f"{method}.json", Cell)
            assert cell.epochs == 2


def test_accuracies_are_those_of_the_models(finished: Path) -> None:
    """Every model on disk, run by onnxruntime on the test images, gives the table's figure."""
    import onnxruntime as ort

    from optimizer.data.load import load

    recipe = read_rivals_recipe(finished / "recipe.toml")
    test = load(recipe.data).test
    for method, row in read(finished).items():
        path = finished / "seed-3" / f"{method}.onnx"
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        x = np.asarray(test.x, np.float32) / np.float32(255)
        (shares,) = session.run(None, {session.get_inputs()[0].name: x})
        assert row.accuracy.mean == pytest.approx((shares.argmax(axis=1) == test.y).mean())


def test_random_freezing_trains_as_many_layers(finished: Path) -> None:
    """As many as the evolution chose, the classifier among them; frozen layers did not change."""
    from optimizer.keras_file import read_keras_file
    from optimizer.rivals.bench import Bench
    from optimizer.rivals.freezing import MaskRecord, draw_mask
    from optimizer.run_folder import RunFolder

    folder = finished / "seed-3"
    chosen = RunFolder(folder).read_record("mask.json", MaskRecord)
    network = read_keras_file(folder / "unpruned.keras")
    bench = Bench(read_rivals_recipe(finished / "recipe.toml"), None, 3)
    drawn = draw_mask(bench, network, chosen)
    assert sum(drawn.layers) == sum(chosen.layers)
    assert drawn.layers[-1]
    assert draw_mask(bench, network, chosen) == drawn


def test_random_masks_differ_and_keep_their_number(tensorflow: None) -> None:
    from optimizer.rivals.freezing import random_mask

    rng = np.random.default_rng(1)
    masks = {random_mask(9, 4, rng) for _ in range(50)}
    assert {sum(mask) for mask in masks} == {4}
    assert all(mask[-1] for mask in masks)
    assert len(masks) > 20


def test_frozen_layers_keep_their_weights(finished: Path) -> None:
    """After the budget, a layer outside of the mask is bit by bit what it was."""
    from optimizer.data.load import load
    from optimizer.keras_file import read_keras_file
    from optimizer.rivals.bench import Bench
    from optimizer.rivals.freezing import MaskRecord, train_masked

    recipe = read_rivals_recipe(finished / "recipe.toml")
    network = read_keras_file(finished / "seed-3" / "unpruned.keras")
    mask = MaskRecord((False, False, True, False, True), 0.0)
    bench = Bench(recipe, load(recipe.data), 3)
    made = train_masked(bench, network, mask, lambda done, total, note: None)
    assert "2 of 5 layers" in made.note
    named = ("first", "norm", "second", "second_norm", "head_logits")
    for name, is_trained in zip(named, mask.layers, strict=True):
        before, after = (m.get_layer(name).get_weights() for m in (network, made.after))
        is_changed = any((a != b).any() for a, b in zip(before, after, strict=True))
        assert is_changed == is_trained, name


def test_goes_on_after_a_kill(tensorflow: None, tmp_path: Path) -> None:
    """A comparison that ended between two cells gives the table of one that did not."""
    from optimizer.rivals.run import RivalsRequest, run_rivals

    recipe = write_recipe(tmp_path, ["gradcam", "random_freeze"])
    whole = run_rivals(RivalsRequest(recipe, tmp_path / "whole"), Quiet())
    broken = RivalsRequest(recipe, tmp_path / "broken")
    with pytest.raises(KilledError):
        run_rivals(broken, Quiet("seed 3, gradcam"))
    again = Quiet()
    record = run_rivals(broken, again)
    assert [line.split(":")[0] for line in again.lines] == [
        "seed 3, gradcam",
        "seed 3, random_freeze",
    ]
    for one, other in zip(whole.rows, record.rows, strict=True):
        for name in ("before", "accuracy", "loss", "macs", "onnx_bytes", "notes"):
            assert getattr(one, name) == getattr(other, name), (one.method, name)
    for path in (tmp_path / "whole").glob("seed-3/*.onnx"):
        assert path.read_bytes() == (tmp_path / "broken" / "seed-3" / path.name).read_bytes()


def test_the_test_images_can_be_left_alone(finished: Path, tmp_path: Path) -> None:
    """Of a copy without what was tested the table is of the validation images."""
    import shutil

    from optimizer.rivals.run import RivalsRequest, run_rivals

    folder = tmp_path / "out"
    shutil.copytree(finished, folder)
    (folder / "tested.json").unlink()
    request = RivalsRequest(finished.parent / "recipe.toml", folder, is_tested=False)
    record = run_rivals(request, Quiet())
    assert {row.split for row in record.rows} == {"validation"}
    assert not (folder / "tested.json").exists()


def test_another_recipe_is_refused(finished: Path, tmp_path: Path) -> None:
    from optimizer.rivals.run import RivalsRequest, run_rivals

    text = (finished / "recipe.toml").read_text().replace("seed = 3", "seed = 4")
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(ConfigError, match="rivals of another recipe"):
        run_rivals(RivalsRequest(tmp_path / "other.toml", finished), Quiet())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ConfigError, match="holds files that are no rivals"):
        run_rivals(RivalsRequest(tmp_path / "other.toml", tmp_path / "other"), Quiet())


def test_the_drawing_and_the_texts_name_every_method(finished: Path) -> None:
    """The plot is valid XML; the paper's figures stand beside ours and are called printed."""
    from xml.etree import ElementTree

    text, drawing = (finished / "rivals.md").read_text(), (finished / "rivals.svg").read_text()
    ElementTree.fromstring(drawing)
    for row in read(finished).values():
        assert f"| {row.name} |" in text
        assert row.name in drawing
    assert "not measured here: DeepWeeds" in text
    assert "| ToSiM-IoT | 93.1 % | 86.8 % |" in text
