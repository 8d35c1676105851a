"""Whole runs: what they leave behind, that they repeat, and how they end when they must."""

import io
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import run_case
from run_case import run

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from headtail.errors import DataError, SearchError, VerificationFailed
from headtail.preprocess.pipeline import Pipeline
from headtail.segment import Chain, relative_error
from headtail.wire import Encoding
from optimizer.run_folder import RunFolder, RunRecord

pytestmark = [
    pytest.mark.tf,
    pytest.mark.usefixtures("tensorflow"),
    # Keras 3.15 saving a model under NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
BUNDLE = "ecg-synthetic-1.bundle"
Finished = list[tuple[Path, str, str]]


def write_recipe(folder: Path, flash_bytes: int = 4096, windows: int = 400) -> Path:
    """Write a small recipe with a bound, and its data; return the recipe's path."""
    more = f"[train]\nepochs = 2\n[partition.bounds]\nflash_bytes = {flash_bytes}"
    return run_case.write_recipe(folder, more, windows=windows)


def names(folder: Path) -> set[str]:
    """Return the names of a folder's files, hidden ones included."""
    return {p.name for p in folder.iterdir()}


def without_times(page: Path) -> str:
    """Return a report without the section that says how long each stage took."""
    return re.sub(r'(?s)<section id="time">.*?</section>', "", page.read_text(encoding="utf-8"))


def test_run_leaves_exactly_these_files(finished_runs: Finished) -> None:
    """Nothing temporary among them."""
    expected = {
        BUNDLE, "history.jsonl", "model.keras", "model.onnx", "plot_confusion.svg",
        "plot_loss.svg", "plot_network.svg", "plot_points.svg", "plot_radio.svg",
        "plot_validation.svg", "recipe.toml", "report.html", "report.json", "report.md",
        "run.json", "test.npz", "training.json",
    }  # fmt: skip
    assert expected == names(finished_runs[0][0])


def test_two_fresh_processes_make_the_same_bundle(finished_runs: Finished) -> None:
    """Byte for byte, although each process hashes strings in its own way."""
    first, second = (folder for folder, _, _ in finished_runs)
    assert (first / BUNDLE).read_bytes() == (second / BUNDLE).read_bytes()
    assert without_times(first / "report.html") == without_times(second / "report.html")


def test_bundle_is_signed_sound_and_says_synthetic(finished_runs: Finished, trust: Trust) -> None:
    """A runtime would take it."""
    bundle = read_bundle(finished_runs[0][0] / BUNDLE, trust)
    Chain(bundle).self_test(bundle)
    assert bundle.manifest.lineage.is_synthetic
    assert bundle.manifest.labels == ("N", "S", "V", "F", "Q")
    assert {(m.name, m.split) for m in bundle.manifest.metrics} == {
        (name, split) for name in ("accuracy", "macro_f1") for split in ("test", "validation")
    }


def test_interior_point_wins_for_the_papers_device_and_link(
    finished_runs: Finished, trust: Trust
) -> None:
    """48 int8 values sent: 192 x 26.47 nJ + 5 x 31.55 nJ + 48 x 8 bit x 20.1 nJ."""
    manifest = read_bundle(finished_runs[0][0] / BUNDLE, trust).manifest
    assert (manifest.default_point, manifest.default_encoding) == (1, Encoding.INT8)
    point = manifest.points[1]
    cost = next(c for c in point.costs if c.encoding is Encoding.INT8)
    assert pytest.approx(192 * 26.47e-9 + 5 * 31.55e-9 + 48 * 8 * 20.1e-9, rel=1e-6) == cost.edge_j
    assert point.flash_bytes == 20


def test_terminal_says_synthetic_and_gives_the_digest(
    finished_runs: Finished, trust: Trust
) -> None:
    """On standard output the figures, on standard error the progress."""
    folder, stdout, stderr = finished_runs[0]
    assert "SYNTHETIC" in stdout
    assert "SYNTHETIC" in stderr
    assert f"digest  {read_bundle(folder / BUNDLE, trust).digest}" in stdout
    assert "Traceback" not in stderr
    assert "oneDNN" not in stderr


def test_test_windows_give_the_accuracy_of_the_report(
    finished_runs: Finished, trust: Trust
) -> None:
    """test.npz through the preprocess steps and the chain is what the edge agent will see."""
    folder = finished_runs[0][0]
    bundle = read_bundle(folder / BUNDLE, trust)
    with np.load(folder / "test.npz") as file:
        raw, labels = file["x"], file["y"]
    assert raw.shape == (len(labels), 187)
    pipeline = Pipeline(bundle.manifest.preprocess)
    x = np.stack([pipeline.window(window) for window in raw])
    given = Chain(bundle).tail({"x": x}, 0)["y"].argmax(axis=1)
    reported = next(m.value for m in bundle.manifest.metrics if m.name == "accuracy")
    # 2000 of 2407 windows: the shares may differ by some standard errors.
    assert abs(float(np.mean(given == labels)) - reported) < 0.03


def test_model_file_is_the_model_in_the_bundle(finished_runs: Finished, trust: Trust) -> None:
    """At every partition point, on random windows."""
    import keras

    folder = finished_runs[0][0]
    bundle = read_bundle(folder / BUNDLE, trust)
    chain = Chain(bundle)
    x = np.random.default_rng(1).random((64, 192, 1), np.float32)
    expected = np.asarray(keras.saving.load_model(folder / "model.keras")(x, training=False))
    for point in range(len(bundle.manifest.points)):
        actual = chain.tail(chain.head({"x": x}, point), point)["y"]
        assert relative_error(expected, actual) <= 1e-5


def test_named_int4_is_measured_chosen_and_reported(
    tmp_path: Path, key_folder: Path, trust: Trust
) -> None:
    """Of 8 values at point 1 four bytes are sent; the accuracy is that of what they say."""
    recipe = write_recipe(tmp_path)
    named = '[partition]\nencodings = ["float32", "int4"]\n[partition.bounds]'
    recipe.write_text(recipe.read_text().replace("[partition.bounds]", named))
    result = run(recipe, tmp_path / "out", key_folder)
    manifest = read_bundle(result.bundle, trust).manifest
    offered = [[(e.encoding.value, e.bytes) for e in p.encodings] for p in manifest.points]
    assert offered == [
        [("float32", 128), ("int4", 16)], [("float32", 32), ("int4", 4)], [("float32", 8)],
    ]  # fmt: skip
    chosen = manifest.points[manifest.default_point].wire(manifest.default_encoding)
    assert (manifest.format_version, manifest.default_encoding) == (2, Encoding.INT4)
    assert chosen is not None
    assert chosen.accuracy is not None
    assert 0 < chosen.largest_error < 1
    assert "int4" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_floor_of_a_recipe_travels_and_is_reported(
    tmp_path: Path, key_folder: Path, trust: Trust
) -> None:
    """Beside it what each cut costs here, which the bundle does not hold."""
    recipe = write_recipe(tmp_path)
    floor = "[partition]\naccuracy_floor = 0.2\n[partition.bounds]"
    recipe.write_text(recipe.read_text().replace("[partition.bounds]", floor))
    result = run(recipe, tmp_path / "out", key_folder)
    bundle = read_bundle(result.bundle, trust)
    assert (4, 0.2) == (bundle.manifest.format_version, bundle.manifest.accuracy_floor)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "20.0% on the validation windows; agents pick nothing below" in page
    assert "Cost of the cuts" in page
    told = msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes())
    assert [1] == [c["point"] for c in told["cut_costs"]]
    assert "cut_costs" not in msgspec.json.decode(bundle.report)


def test_finished_run_is_not_repeated(
    finished_runs: Finished, tmp_path: Path, key_folder: Path
) -> None:
    """The bundle's file stays the very same."""
    out = tmp_path / "out"
    shutil.copytree(finished_runs[0][0], out)
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    shown = io.StringIO()
    result = run(out / "recipe.toml", out, key_folder, shown)
    assert result.summary is None
    assert "finished earlier" in shown.getvalue()
    assert before == {p: p.stat().st_mtime_ns for p in out.iterdir()}


@pytest.mark.parametrize("lost", ["training.json", BUNDLE])
def test_interrupted_run_ends_with_the_same_digest(
    lost: str, finished_runs: Finished, tmp_path: Path, key_folder: Path
) -> None:
    """Interrupted in the training, or after it."""
    out = tmp_path / "out"
    shutil.copytree(finished_runs[0][0], out)
    folder = RunFolder(out)
    expected = folder.record.digest
    folder.write_record(
        "run.json", msgspec.structs.replace(folder.record, bundle=None, digest=None)
    )
    for name in (lost, BUNDLE, "report.html", "test.npz"):
        (out / name).unlink(missing_ok=True)
    shown = io.StringIO()
    result = run(out / "recipe.toml", out, key_folder, shown)
    assert expected == result.digest
    assert ("training finished earlier" in shown.getvalue()) == (lost == BUNDLE)
    assert names(out) == names(finished_runs[0][0])


def test_bounds_that_nothing_keeps_end_the_run_before_the_training(
    tmp_path: Path, key_folder: Path
) -> None:
    """Point 0 needs no Flash, so RAM is what can rule out everything."""
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("flash_bytes = 4096", "ram_bytes = 8"))
    with pytest.raises(SearchError, match=r"none of \d+ points .* nearest is point .* ram_bytes"):
        run(recipe, tmp_path / "out", key_folder)
    assert names(tmp_path / "out") == {"recipe.toml", "run.json"}


def test_biases_count_before_the_training(tmp_path: Path, key_folder: Path) -> None:
    """They are zeros then, and the export leaves those out: 16 bytes would fit, 20 do not."""
    recipe = write_recipe(tmp_path, flash_bytes=18)
    recipe.write_text(recipe.read_text() + "edge_j = 4e-6\n")
    with pytest.raises(SearchError, match="flash_bytes 20 is 2 over its bound of 18"):
        run(recipe, tmp_path / "out", key_folder)
    assert names(tmp_path / "out") == {"recipe.toml", "run.json"}


def test_bound_on_accuracy_waits_for_the_training(tmp_path: Path, key_folder: Path) -> None:
    """Nothing is known of it before."""
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text() + "accuracy = 0.2\nwire_error = 0.5\n")
    result = run(recipe, tmp_path / "out", key_folder)
    assert result.summary is not None
    assert result.summary.accuracy(result.summary.chosen) >= 0.2


def test_bound_moves_the_choice(tmp_path: Path, key_folder: Path) -> None:
    """A head of five parameters does not fit 16 bytes, so all runs in the fog."""
    result = run(write_recipe(tmp_path, flash_bytes=16), tmp_path / "out", key_folder)
    assert result.summary is not None
    assert result.summary.choice.point == 0
    assert not next(r for r in result.summary.rows if r.point == 1).is_feasible


def test_export_that_differs_from_keras_ends_the_run_without_a_bundle(
    tmp_path: Path, key_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the exported weights are a thousandth off."""
    from optimizer.run import run as module

    def export_other_weights(model, opset: int) -> bytes:
        original = model.get_weights()
        model.set_weights([w * np.float32(1.001) for w in original])
        content = export(model, opset)
        model.set_weights(original)
        return content

    export = module.export_keras
    monkeypatch.setattr(module, "export_keras", export_other_weights)
    with pytest.raises(VerificationFailed, match="received"):
        run(write_recipe(tmp_path), tmp_path / "out", key_folder)
    assert not list((tmp_path / "out").glob("*.bundle"))
    assert RunFolder(tmp_path / "out").record.bundle is None


def test_too_few_windows_to_verify_with_are_refused(tmp_path: Path, key_folder: Path) -> None:
    """64 is the least."""
    with pytest.raises(DataError, match="expected at least 64 windows"):
        run(write_recipe(tmp_path, windows=70), tmp_path / "out", key_folder)


def test_windows_that_do_not_fit_the_network_are_named(tmp_path: Path, key_folder: Path) -> None:
    """With the split they are in."""
    recipe = write_recipe(tmp_path)
    recipe.write_text(recipe.read_text().replace("shape = [32, 1]", "shape = [16, 2]"))
    with pytest.raises(DataError, match=r"split 'train': .* expected shape \(32, 1\), received"):
        run(recipe, tmp_path / "out", key_folder)


def test_record_of_a_run_names_its_bundle(finished_runs: Finished) -> None:
    """For programs that look for it."""
    record = msgspec.json.decode((finished_runs[0][0] / "run.json").read_bytes(), type=RunRecord)
    assert (record.bundle, record.seed) == (BUNDLE, 1)
