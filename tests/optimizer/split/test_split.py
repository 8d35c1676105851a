"""The command `optimizer split`, from a model's file to a bundle that runs."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper
from run_case import PROGRAM

from headtail.bundle import read_bundle
from headtail.bundle.keys import Trust
from headtail.bundle.offers import offered
from headtail.errors import ConfigError
from headtail.segment import Chain
from optimizer.cli import main
from optimizer.split_command import parse_points
from optimizer.verify import TOLERANCE

Model = Callable[..., bytes]
Run = Callable[..., int]
node = helper.make_node


@pytest.fixture
def model(small_cnn: bytes, tmp_path: Path) -> Path:
    """Write the small network to a file."""
    path = tmp_path / "Small CNN.onnx"
    path.write_bytes(small_cnn)
    return path


@pytest.fixture
def split(key_folder: Path, tmp_path: Path) -> Run:
    """Run `optimizer split MODEL --out OUT --key KEY` with more flags."""

    def run(model: Path, *flags: str, out: str = "out.bundle") -> int:
        words = ["split", str(model), "--out", str(tmp_path / out)]
        return main([*words, "--key", str(key_folder / "test.key"), *flags])

    return run


def test_bundle_of_a_model_runs(split: Run, model: Path, tmp_path: Path, trust: Trust) -> None:
    """Named for its file, self-tested, head and tail equal to the whole at every point."""
    assert split(model) == 0
    bundle = read_bundle(tmp_path / "out.bundle", trust)
    assert (bundle.manifest.name, bundle.manifest.version) == ("small-cnn", "1")
    assert not bundle.manifest.lineage.is_synthetic
    chain = Chain(bundle)
    assert chain.self_test(bundle) <= TOLERANCE
    x = bundle.samples.inputs
    whole = chain.tail(x, 0)["y"]
    for k in range(1, len(bundle.segments)):
        np.testing.assert_array_equal(chain.tail(chain.head(x, k), k)["y"], whole)


def test_table_and_verification_are_printed(
    split: Run, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert split(model) == 0
    out = capsys.readouterr().out
    assert "verified on 64 random windows" in " ".join(out.split())
    assert "small-cnn 1: partition points" in out


def test_json_says_the_same(
    split: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], trust: Trust
) -> None:
    assert split(model, "--json", "--points", "all") == 0
    record = msgspec.json.decode(capsys.readouterr().out)
    bundle = read_bundle(tmp_path / "out.bundle", trust)
    assert record["digest"] == bundle.digest
    assert (record["legal_cuts"], len(record["cuts"])) == (4, 4)
    assert record["verified"]["largest_error"] <= TOLERANCE


def test_list_prints_the_legal_cuts_and_writes_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["split", str(model), "--points", "list", "--json"]) == 0
    cuts = msgspec.json.decode(capsys.readouterr().out)
    assert [c["tensors"][0]["name"] for c in cuts] == ["r1", "p1", "r2", "g"]
    assert main(["split", str(model), "--points", "list"]) == 0
    assert "4 legal cuts" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Small CNN.onnx"]


def test_chosen_cuts_are_the_segments(
    split: Run, model: Path, tmp_path: Path, trust: Trust
) -> None:
    assert split(model, "--points", "3,0", "--name", "mine", "--version", "2.1") == 0
    manifest = read_bundle(tmp_path / "out.bundle", trust).manifest
    assert [p.activation[0].name for p in manifest.points] == ["x", "r1", "g", "y"]
    assert (manifest.name, manifest.version) == ("mine", "2.1")


def test_samples_calibrate_and_labels_measure(
    split: Run, model: Path, tmp_path: Path, trust: Trust
) -> None:
    """With 100 windows of one's own: int8, accuracy, and these windows as samples."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((100, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=x, y=rng.integers(0, 5, 100))
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    flags = ["--samples", str(tmp_path / "own.npz"), "--labels", str(tmp_path / "labels.txt")]
    assert split(model, *flags) == 0
    bundle = read_bundle(tmp_path / "out.bundle", trust)
    assert bundle.manifest.labels == ("a", "b", "c", "d", "e")
    assert [e.encoding.value for e in bundle.manifest.points[1].encodings] == [
        "float32", "float16", "int8",
    ]  # fmt: skip
    assert bundle.manifest.metrics[0].name == "accuracy"
    np.testing.assert_array_equal(bundle.samples.inputs["x"], x[:8])


def test_named_encodings_are_offered(
    split: Run, model: Path, tmp_path: Path, key_folder: Path, trust: Trust,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """int4 with half the bytes of int8, in the bundle and in the tables; its lineage says so."""
    x = np.random.default_rng(4).standard_normal((100, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=x)
    flags = ["--samples", str(tmp_path / "own.npz"), "--encodings", "float32, int8,int4"]
    assert split(model, *flags, "--points", "1") == 0
    assert "int4" in capsys.readouterr().out
    manifest = read_bundle(tmp_path / "out.bundle", trust).manifest
    assert [(e.encoding.value, e.bytes) for e in manifest.points[1].encodings] == [
        ("float32", 256), ("int8", 64), ("int4", 32),
    ]  # fmt: skip
    assert manifest.lineage.recipe["encodings"] == ["float32", "int8", "int4"]
    keys = str(key_folder / "trust")
    assert main(["inspect", str(tmp_path / "out.bundle"), "--trust", keys]) == 0
    assert "int4" in capsys.readouterr().out


def test_what_misses_the_accuracy_floor_is_not_for_agents_to_pick(
    split: Run, model: Path, tmp_path: Path, key_folder: Path, trust: Trust,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Labels are the model's own answers, so float32 is right always and int4 not quite."""
    x = 9 * np.random.default_rng(4).standard_normal((100, 3, 8, 8)).astype(np.float32)
    (answers,) = ort.InferenceSession(model).run(["y"], {"x": x})
    np.savez(tmp_path / "own.npz", x=x, y=answers.reshape(100, -1).argmax(axis=1))
    flags = ["--samples", str(tmp_path / "own.npz"), "--encodings", "float16,int8,int4"]
    assert split(model, *flags, "--points", "all") == 0
    plain = read_bundle(tmp_path / "out.bundle", trust).manifest
    accuracies = {(p.index, e.encoding): e.accuracy for p in plain.points for e in p.encodings}
    floor = min(n for n in accuracies.values() if n is not None) + 0.005
    assert floor < 1
    capsys.readouterr()

    assert split(model, *flags, "--points", "all", "--accuracy-floor", str(floor)) == 0

    manifest = read_bundle(tmp_path / "out.bundle", trust).manifest
    assert (manifest.format_version, manifest.accuracy_floor) == (4, floor)
    kept = {
        key for key, accuracy in accuracies.items() if accuracy is not None and accuracy >= floor
    }
    assert kept == set(offered(manifest))
    assert (manifest.default_point, manifest.default_encoding) in kept
    assert f"below the accuracy floor of {floor:.1%}" in " ".join(capsys.readouterr().out.split())
    keys = str(key_folder / "trust")
    assert main(["inspect", str(tmp_path / "out.bundle"), "--trust", keys]) == 0
    assert f"{len(accuracies) - len(kept)} of {len(accuracies)}" in capsys.readouterr().out


def test_a_floor_that_nothing_reaches_is_one_line(
    split: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor can a floor be kept that nothing is measured against."""
    x = np.random.default_rng(4).standard_normal((100, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(100) % 5)
    flags = ["--samples", str(tmp_path / "own.npz")]
    assert split(model, *flags, "--accuracy-floor", "0.999") == 1
    assert "under its bound of 0.999" in capsys.readouterr().err
    assert split(model, "--accuracy-floor", "0.9") == 1
    assert "--accuracy-floor: needs --samples with labels `y`" in capsys.readouterr().err
    assert split(model, *flags, "--accuracy-floor", "1.5") == 1
    assert "expected an accuracy from 0 to 1, received 1.5" in capsys.readouterr().err
    assert not (tmp_path / "out.bundle").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [("int4", "int4 need"), ("int8,int4", "int8, int4 need --samples"), ("float16,int3", "'int3'"),
     ("", "expected some of float32, float16, int8, int4, received ''")],
)  # fmt: skip
def test_impossible_encodings_are_one_line(
    split: Run, model: Path, capsys: pytest.CaptureFixture[str], names: str, message: str
) -> None:
    """Before anything is read."""
    assert split(model, "--encodings", names) == 1
    assert message in capsys.readouterr().err


def test_few_samples_are_made_up_to_64(
    split: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "own.npz", x=np.ones((10, 3, 8, 8), np.float32))
    assert split(model, "--samples", str(tmp_path / "own.npz"), "--json") == 0
    record = msgspec.json.decode(capsys.readouterr().out)
    assert record["verified"]["windows"] == "10 of own.npz and 54 random"


def test_bounds_choose_the_default(split: Run, model: Path, tmp_path: Path, trust: Trust) -> None:
    """Two profiles of links: the first decides."""
    flags = ["--device-profile", "stm32l476-paper", "--link-profile", "ble-paper"]
    assert split(model, *flags, "--link-profile", "ble-1m", "--flash-bytes", "500") == 0
    manifest = read_bundle(tmp_path / "out.bundle", trust).manifest
    assert manifest.points[manifest.default_point].flash_bytes <= 500
    assert {c.link_profile for c in manifest.points[0].costs} == {"ble-paper", "ble-1m"}


def test_model_without_batch_axis_and_with_several_ends(
    split: Run, onnx_model: Model, tmp_path: Path, trust: Trust
) -> None:
    conv = {"kernel_shape": [3], "pads": [1, 1]}
    content = onnx_model(
        [
            node("Conv", ["x", "w"], ["a"], **conv),
            node("Conv", ["a", "w"], ["early"], **conv),
            node("Conv", ["early", "w"], ["c"], **conv),
            node("Add", ["c", "late"], ["y"]),
        ],
        {"x": (1, 2, 8), "late": (1, 2, 8)},
        outputs=["early", "y"],
        weights={"w": np.random.default_rng(0).standard_normal((2, 2, 3))},
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert split(path, "--points", "all") == 0
    bundle = read_bundle(tmp_path / "out.bundle", trust)
    assert not bundle.manifest.is_batchable
    assert Chain(bundle).self_test(bundle) <= TOLERANCE


def test_two_processes_give_one_digest(
    split: Run, model: Path, key_folder: Path, tmp_path: Path, trust: Trust
) -> None:
    """The same file, flags and key: the same bundle, byte for byte."""
    assert split(model) == 0
    words = ["split", str(model), "--out", str(tmp_path / "b.bundle")]
    subprocess.run(
        [*PROGRAM, *words, "--key", str(key_folder / "test.key")],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert (tmp_path / "out.bundle").read_bytes() == (tmp_path / "b.bundle").read_bytes()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--points", "9"], "points: 9 is no legal cut of this model: 0 to 3"),
        (["--points", "x"], "--points: expected auto, all, list or I,J,..., received 'x'"),
        (["--name", "No Name"], "--name: expected lower-case words"),
        (["--version", "v1"], "--version: expected numbers and dots, received 'v1'"),
        (["--flash-bytes", "-1"], "bounds: Expected"),
        (["--ram-bytes", "1"], "none of"),
        (["--device-profile", "abacus"], "device profile 'abacus'"),
        (["--samples", "/nowhere.npz"], "/nowhere.npz: cannot be read: No such file"),
        (["--labels", "/nowhere.txt"], "/nowhere.txt: cannot be read"),
        (["--key", "/nowhere.key"], "/nowhere.key: cannot read the key"),
    ],
)
def test_wrong_flags_give_one_line(
    split: Run,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    reason: str,
) -> None:
    assert split(model, *flags) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert reason in errors[0]
    assert [p.name for p in tmp_path.iterdir() if p.name != model.name] == []


@pytest.mark.parametrize("name", ["model.onnx", "model.keras", "model.pt"])
@pytest.mark.tf
def test_foreign_files_give_one_line(
    split: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"neither onnx nor keras")
    assert split(path) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith(f"error: {path}: ")
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"z": np.ones((3, 3, 8, 8), np.float32)}, "no array 'x'; it has z"),
        ({"x": np.ones((3, 3, 8, 9), np.float32)}, r"expected shape (any, 3, 8, 8)"),
        ({"x": np.ones((3, 3, 8, 8))}, "expected float32, received float64"),
        ({"x": np.full((3, 3, 8, 8), np.inf, np.float32)}, "576 NaN or inf of 576"),
        ({"x": np.ones((3, 3, 8, 8), np.float32), "y": np.ones(2, int)}, "'y' must hold 3 class"),
        ({"x": np.array([{}], dtype=object)}, "no .npz of plain arrays"),
    ],
)
def test_wrong_samples_give_one_line(
    split: Run,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arrays: dict[str, np.ndarray],
    reason: str,
) -> None:
    np.savez(tmp_path / "own.npz", **arrays)
    assert split(model, "--samples", str(tmp_path / "own.npz")) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert reason in last


def test_points_are_numbers() -> None:
    assert parse_points("3,1") == (3, 1)
    with pytest.raises(ConfigError):
        parse_points("1,,2")
