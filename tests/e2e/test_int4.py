"""Four bits on the wire from a model's file to labels, with the real programs."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headtail.bundle import Bundle, read_bundle
from headtail.bundle.keys import read_trust
from headtail.segment import Chain
from headtail.tensor import Array
from headtail.wire import Affine, Encoding
from programs import running

pytestmark = [pytest.mark.e2e, pytest.mark.tf]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
WINDOWS, LENGTH, VALUES = 37, 45, 15  # an odd number of values, so half a byte is left over
LABELS = ["n", "s", "v", "f"]


def write_model(path: Path, rng: np.random.Generator) -> None:
    """Write one convolution, a ReLU and a dense layer: 45 samples, 15 values, 4 classes."""
    weights = {
        "w": rng.standard_normal((1, 1, 3)),
        "b": rng.standard_normal(1),
        "v": rng.standard_normal((VALUES, 4)),
        "shape": np.array([-1, VALUES]),
    }
    stored = [
        numpy_helper.from_array(a if n == "shape" else a.astype(np.float32), n)
        for n, a in weights.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], strides=[3]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, LENGTH]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4]),
    ]
    graph = helper.make_graph(nodes, "odd", ends[:1], ends[1:], stored)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty home folder, where the development key is made on first use."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def windows() -> Array:
    """Return windows that the model was not calibrated on."""
    return np.random.default_rng(8).standard_normal((WINDOWS, 1, LENGTH)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle_path(run: Run, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that `optimizer split` made, with int4 as its default."""
    folder = tmp_path_factory.mktemp("split")
    rng = np.random.default_rng(3)
    write_model(folder / "odd.onnx", rng)
    np.savez(
        folder / "own.npz", x=rng.standard_normal((96, 1, LENGTH)).astype(np.float32),
        y=rng.integers(0, 4, 96),
    )  # fmt: skip
    (folder / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    process = run(
        *("optimizer", "split", folder / "odd.onnx", "--out", folder / "odd.bundle"),
        *("--samples", folder / "own.npz", "--labels", folder / "labels.txt", "--points", "all"),
        *("--encodings", "float32,int8,int4", "--link-profile", "ble-paper"),
        *("--device-profile", "stm32l476-paper"),
        HOME=str(home),
    )
    assert process.returncode == 0, process.stderr
    return folder / "odd.bundle"


@pytest.fixture(scope="module")
def bundle(bundle_path: Path, home: Path) -> Bundle:
    """Return it read."""
    return read_bundle(bundle_path, read_trust(home / ".config" / "headtail" / "trust"))


@pytest.fixture(scope="module")
def fog(bundle_path: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a fog server for the bundle; return its address."""
    keys = ["--trust", home / ".config" / "headtail" / "trust"]
    command = ["fog-server", "--bundles", bundle_path.parent, "--listen", "127.0.0.1:0", *keys]
    with running(command, tmp_path_factory.mktemp("fog") / "log") as program:
        yield program.wait_for(r"serving on (\S+)")


def carried(value: float, affine: Affine) -> float:
    """Return what is left of one value after four bits, worked out by itself."""
    scaled = np.float32(value) * np.float32(1 / affine.scale) + np.float32(affine.zero_point)
    return (max(-8, min(7, round(float(scaled)))) - affine.zero_point) * affine.scale


def expected(bundle: Bundle, windows: Array, point: int) -> Array:
    """Return the model's outputs when the activation at `point` is carried in four bits."""
    chain, record = Chain(bundle), bundle.manifest.points[point]
    wire = record.wire(Encoding.INT4)
    assert wire is not None
    (spec,) = record.activation
    activation = chain.head({"x": windows}, point)[spec.name]
    arrived = [carried(v, wire.affine[spec.name]) for v in activation.reshape(-1)]
    shaped = np.array(arrived, np.float32).reshape(activation.shape)
    return chain.tail({spec.name: shaped}, point)["y"]


def test_manifest_counts_half_bytes(bundle: Bundle) -> None:
    """45 samples take 23 bytes and 15 values take 8; accuracy and error of int4 were measured."""
    manifest = bundle.manifest
    assert manifest.format_version == 2
    sizes = {p.index: {e.encoding.value: e.bytes for e in p.encodings} for p in manifest.points}
    assert sizes[0] == {"float32": 180, "int8": 45, "int4": 23}
    assert sizes[1] == {"float32": 60, "int8": 15, "int4": 8}
    assert (manifest.default_point, manifest.default_encoding) == (1, Encoding.INT4)
    wire = manifest.points[1].wire(Encoding.INT4)
    assert wire is not None
    assert wire.accuracy is not None
    assert 0 < wire.largest_error < 0.5


@pytest.mark.parametrize("batch", ["1", "8"])
@pytest.mark.parametrize("point", [0, 1])
def test_labels_are_those_of_the_tail_of_what_was_carried(
    run: Run, fog: str, bundle: Bundle, bundle_path: Path, windows: Array, home: Path,
    tmp_path: Path, point: int, batch: str,
) -> None:  # fmt: skip
    """One window or several in a message: no nibble of one ends up in another."""
    np.savez(tmp_path / "windows.npz", x=windows)
    process = run(
        *("edge-agent", "run", "--bundle", bundle_path, "--point", str(point), "--fog", fog),
        *("--encoding", "int4", "--batch", batch, "--sink", f"jsonl:{tmp_path / 'o'}"),
        *("--source", f"npz:{tmp_path / 'windows.npz'}"),
        HOME=str(home),
    )
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in (tmp_path / "o").read_text().splitlines()]
    assert [("fog", point, "int4")] * WINDOWS == [
        (line["where"], line["partition_point"], line["encoding"]) for line in lines
    ]
    outputs = expected(bundle, windows, point)
    np.testing.assert_allclose(outputs, [line["output"] for line in lines], rtol=1e-4, atol=1e-5)
    assert [LABELS[i] for i in outputs.argmax(axis=1)] == [line["label"] for line in lines]
