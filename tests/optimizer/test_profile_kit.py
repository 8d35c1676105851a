"""Profile kits: what is drawn, what is written, what is refused."""

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from headtail.errors import DataError
from headtail.layer_shape import KINDS, LayerShape
from headtail.operations import Operations
from headtail.profile_graph import check_graph
from headtail.profile_kit import Kit, read_kit
from optimizer.cut.count import count_operations
from optimizer.cut.graph import read_graph
from optimizer.profile_kit import build_graph, write_sample

pytestmark = pytest.mark.tf
SHAPES = [
    LayerShape("conv", 64, 3, 16, 4, 4),
    LayerShape("conv", 64, 3, 16, 4, 12),
    LayerShape("conv", 32, 2, 32, 8, 3),
    LayerShape("conv_transpose", 16, 3, 64, 2, 4),
    LayerShape("conv_transpose", 16, 3, 64, 2, 12),
    LayerShape("depthwise", 64, 4, 32, 4, 2),
    LayerShape("dense", 64, 3, 5, 1),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_operations_are_those_counted_in_the_graph(shape: LayerShape) -> None:
    """Counted by `optimizer inspect`'s own rules from the ONNX file, three copies of the layer."""
    content = build_graph(shape, 3, np.random.default_rng(0))
    graph = read_graph(content)
    counted = count_operations(graph, graph.nodes)
    assert sum([shape.operations] * 3, Operations()) == counted


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_graphs_run_and_have_the_shapes_they_claim(shape: LayerShape) -> None:
    """A longer kernel is padded as Keras' "same" does: the lengths stay."""
    content = build_graph(shape, 2, np.random.default_rng(0))
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"x": np.ones(shape.input_shape, np.float32)})
    assert [shape.output_shape] * 2 == [y.shape for y in outputs]


def test_same_seed_same_bytes_and_every_kind_has_layers_held_out(tmp_path: Path, kit: Kit) -> None:
    digest = write_sample(tmp_path / "a.zip", 32, seed=3)
    write_sample(tmp_path / "b.zip", 32, seed=3)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert kit.digest == digest
    assert write_sample(tmp_path / "c.zip", 32, seed=4) != digest
    held = Counter(layer.shape.kind for layer in kit.manifest.layers if layer.is_held_out)
    assert dict.fromkeys(KINDS, 2) == held
    assert len({layer.shape for layer in kit.manifest.layers}) == 32


def rewrite(
    source: Path, path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], object]
) -> Path:
    """Write `source` again with its manifest and members changed."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(manifest, members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def grow(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    """Let a member unpack to more than the manifest says."""
    path = manifest["layers"][0]["single"]["path"]
    members[path] += bytes(1 << 20)


def swap(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    """Exchange two members of one size or, failing that, flip a byte."""
    path = manifest["layers"][0]["single"]["path"]
    members[path] = members[path][:-1] + bytes([members[path][-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, _: m.update(surprise=1), "unknown field `surprise`"),
        (lambda m, _: m.update(format_version=2), "Invalid enum value 2"),
        (lambda m, _: m.update(layers=[]), "length >= 1"),
        (lambda m, _: m.update(layers=m["layers"] * 20), "length <= 256"),
        (lambda m, _: m["layers"].append(m["layers"][0]), "comes twice"),
        (lambda m, _: m["layers"][0]["shape"].update(kernel=7), "not those of its shape"),
        (lambda m, _: m["layers"][0].update(activation_bytes=1), "activation_bytes are not"),
        (lambda m, _: m["layers"][0]["shape"].update(in_length=1 << 30), "<= 65536"),
        (lambda m, _: m["layers"][0].update(copies=1000), "<= 64"),
        (lambda m, _: m["layers"][0]["single"].update(bytes=1 << 40), "a file of over 8388608"),
        (lambda _, members: members.update({"../evil": b""}), "members are not those"),
        (lambda _, members: members.popitem(), "that the manifest names, each once"),
        (grow, "expected at most"),
        (swap, "is not what the manifest names"),
        (lambda m, _: m["layers"][0].update(copies=3), "expected operators 3 x"),
    ],
)
def test_a_bad_kit_is_refused(
    kit_path: Path, tmp_path: Path, change: Callable[..., object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_kit(rewrite(kit_path, tmp_path / "bad.zip", change))


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip" * 100])
def test_a_file_that_is_no_kit_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kit.zip").write_bytes(content)
    with pytest.raises(DataError, match="no readable zip file"):
        read_kit(tmp_path / "kit.zip")
    with pytest.raises(DataError, match="cannot be read"):
        read_kit(tmp_path / "none.zip")


def test_graphs_with_more_than_the_layer_are_refused() -> None:
    """Loops could run for ever, custom operators and external weights reach into the device."""
    good = onnx.load_from_string(build_graph(SHAPES[-1], 1, np.random.default_rng(0)))
    check_graph(good.SerializeToString(), "dense", 1, "kit")
    cases = []
    for node in (
        helper.make_node("Loop", ["x"], ["z"], body=good.graph),
        helper.make_node("Gemm", ["x", "w0"], ["z"], domain="own"),
        helper.make_node("Relu", ["y0"], ["z"]),
    ):
        bad = onnx.ModelProto.FromString(good.SerializeToString())
        bad.graph.node.append(node)
        cases.append(bad)
    external = onnx.ModelProto.FromString(good.SerializeToString())
    external.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    for bad in (*cases, external):
        with pytest.raises(DataError, match=r"kit: (no ONNX model|expected operators)"):
            check_graph(bad.SerializeToString(), "dense", 1, "kit")
