"""Reading ONNX models: what is understood, what is refused and with which line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headtail.errors import ExportError
from headtail.tensor import TensorSpec
from optimizer.cut.graph import BATCH, read_graph

Model = Callable[..., bytes]
node = helper.make_node


def test_open_first_axis_is_the_batch(small_cnn: bytes) -> None:
    """Every tensor of a model of batches has a leading -1."""
    graph = read_graph(small_cnn)
    assert graph.inputs == (TensorSpec("x", "float32", (-1, 3, 8, 8)),)
    assert graph.outputs == (TensorSpec("y", "float32", (-1, 5)),)
    assert graph.spec("p1") == TensorSpec("p1", "float32", (-1, 4, 4, 4))
    assert graph.is_batchable


def test_fixed_first_axis_is_no_batch(onnx_model: Model) -> None:
    """A model exported for one window keeps its shapes."""
    graph = read_graph(onnx_model([node("Relu", ["x"], ["y"])], {"x": (1, 4)}))
    assert graph.inputs == (TensorSpec("x", "float32", (1, 4)),)
    assert not graph.is_batchable


def test_inside_made_for_one_window_makes_the_model_fixed(onnx_model: Model) -> None:
    """An open input axis in front of a hard-coded reshape to one row holds one window."""
    content = onnx_model(
        [node("Reshape", ["x", "one"], ["y"])],
        {"x": ("N", 2, 2)},
        weights={"one": np.array([1, 4])},
    )
    graph = read_graph(content)
    assert graph.inputs == (TensorSpec("x", "float32", (1, 2, 2)),)
    assert graph.outputs == (TensorSpec("y", "float32", (1, 4)),)


def test_sizes_that_never_change_become_constants(onnx_model: Model) -> None:
    """A reshape to (Shape(x)[0], -1) gets a constant target, so no size is alive."""
    content = onnx_model(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Concat", ["n", "minus"], ["target"], axis=0),
            node("Reshape", ["x", "target"], ["y"]),
        ],
        {"x": ("N", 2, 3)},
        weights={"zero": np.array([0]), "minus": np.array([-1])},
    )
    graph = read_graph(content)
    assert [n.op for n in graph.nodes] == ["Reshape"]
    target = graph.weights[graph.nodes[0].helpers[0]]
    assert numpy_helper.to_array(target).tolist() == [-1, 6]


def test_sizes_of_the_batch_are_read_off_the_batch(onnx_model: Model) -> None:
    """An Expand to the batch size needs the batch, not the tensor it was read from."""
    content = onnx_model(
        [
            node("Shape", ["x"], ["s"]),
            node("Expand", ["token", "s"], ["e"]),
            node("Add", ["x", "e"], ["y"]),
        ],
        {"x": ("N", 4)},
        weights={"token": np.ones((1, 4))},
    )
    graph = read_graph(content)
    assert [n.op for n in graph.nodes] == ["Add"]
    assert graph.helpers["s"].helpers[0] == BATCH


def test_axes_that_only_follow_the_batch_have_no_spec(onnx_model: Model) -> None:
    """Rows of all windows mixed into one axis cannot be told apart again."""
    content = onnx_model(
        [node("Reshape", ["x", "rows"], ["r"]), node("Reshape", ["r", "back"], ["y"])],
        {"x": ("N", 6)},
        weights={"rows": np.array([-1, 2]), "back": np.array([-1, 6])},
    )
    graph = read_graph(content)
    assert graph.spec("r") is None
    assert graph.window_shape("r") == (3, 2)


def test_outputs_of_nobody_are_left_out(onnx_model: Model) -> None:
    """A node that no output needs is not part of the model."""
    content = onnx_model(
        [node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["unused"])], {"x": ("N", 2)}
    )
    assert [n.op for n in read_graph(content).nodes] == ["Relu"]


def test_initialisers_listed_as_inputs_are_weights(onnx_model: Model) -> None:
    """Up to IR version 3 every initialiser is also an input."""
    content = onnx_model(
        [node("Add", ["x", "w"], ["y"])],
        {"x": ("N", 2), "w": (2,)},
        weights={"w": np.ones(2)},
        opset=8,
        ir_version=3,
    )
    assert [s.name for s in read_graph(content).inputs] == ["x"]


def test_model_functions_are_inlined() -> None:
    """A model-local function is replaced by its body."""
    body = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    graph = helper.make_graph(
        [node("Twice", ["x"], ["y"], domain="own")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 2))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=[body], opset_imports=opsets, ir_version=8)
    assert [n.op for n in read_graph(model.SerializeToString()).nodes] == ["Add"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x00" * 64, b"onnx" * 999])
def test_foreign_bytes_are_no_model(content: bytes) -> None:
    with pytest.raises(ExportError, match=r"^model: no ONNX model"):
        read_graph(content)


def test_truncated_models_are_refused(small_cnn: bytes) -> None:
    """Whatever is cut off, one line says so."""
    for size in range(8, len(small_cnn), 97):
        with pytest.raises(ExportError, match=r"^model: ") as caught:
            read_graph(small_cnn[:size])
        assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"none\.onnx: cannot be read: No such file"):
        read_graph(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("kind", "shape", "reason"),
    [
        (TensorProto.DOUBLE, ("N", 2), "input 'x' is float64"),
        (TensorProto.STRING, ("N", 2), "input 'x' is string"),
        (TensorProto.BFLOAT16, ("N", 2), "input 'x' is bfloat16"),
        (TensorProto.FLOAT, None, "input 'x' has no shape"),
        (TensorProto.FLOAT, ("N", 3, "H", "W"), r"input 'x' has shape \(-1, 3, -1, -1\)"),
    ],
)
def test_inputs_that_cannot_be_windows_are_refused(
    onnx_model: Model, kind: int, shape: tuple[str | int, ...] | None, reason: str
) -> None:
    nodes = [node("Identity", ["x"], ["y"])]
    content = onnx_model(nodes, {"x": shape}, types={"x": kind, "y": kind})
    with pytest.raises(ExportError, match=reason):
        read_graph(content)


def test_unknown_opset_is_refused(onnx_model: Model) -> None:
    content = onnx_model([node("Relu", ["x"], ["y"])], {"x": ("N", 2)}, opset=999)
    with pytest.raises(ExportError, match=r"^model: "):
        read_graph(content)


def test_unknown_operator_is_refused(onnx_model: Model) -> None:
    content = onnx_model([node("Frobnicate", ["x"], ["y"])], {"x": ("N", 2)})
    with pytest.raises(ExportError, match="Frobnicate"):
        read_graph(content)


def test_random_operator_is_refused(onnx_model: Model) -> None:
    nodes = [node("RandomNormalLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])]
    with pytest.raises(ExportError, match="RandomNormalLike is random"):
        read_graph(onnx_model(nodes, {"x": ("N", 2)}))


def test_output_that_is_a_sequence_is_refused() -> None:
    graph = helper.make_graph(
        [node("SequenceConstruct", ["x", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2))],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ExportError, match="output 'y' is no tensor"):
        read_graph(model.SerializeToString())


def test_output_whose_size_depends_on_values_is_refused(onnx_model: Model) -> None:
    """Also where two runs show the same size, since nothing was zero in either."""
    content = onnx_model(
        [node("Sigmoid", ["x"], ["s"]), node("NonZero", ["s"], ["y"])],
        {"x": (1, 64)},
        types={"y": TensorProto.INT64},
    )
    with pytest.raises(ExportError, match="output 'y': its size depends on values"):
        read_graph(content)


def test_output_that_is_constant_is_refused(onnx_model: Model) -> None:
    content = onnx_model(
        [node("Identity", ["w"], ["y"]), node("Relu", ["x"], ["z"])],
        {"x": ("N", 2)},
        outputs=["y", "z"],
        weights={"w": np.ones(2)},
    )
    with pytest.raises(ExportError, match="output 'y' does not depend on the inputs"):
        read_graph(content)


@pytest.fixture
def external(onnx_model: Model, tmp_path: Path) -> Callable[[str], Path]:
    """Write a model whose weight lies in the file of the given name."""

    def write(location: str) -> Path:
        nodes = [node("Add", ["x", "w"], ["y"])]
        model = onnx.ModelProto.FromString(
            onnx_model(nodes, {"x": ("N", 4)}, weights={"w": np.arange(4.0)})
        )
        tensor = model.graph.initializer[0]
        (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def test_external_data_beside_the_file_is_taken_in(external: Callable[[str], Path]) -> None:
    graph = read_graph(external("weights.bin"))
    assert numpy_helper.to_array(graph.weights["w"]).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin"])
def test_external_data_outside_the_folder_is_refused(
    external: Callable[[str], Path], location: str
) -> None:
    with pytest.raises(ExportError, match="lies outside its folder"):
        read_graph(external(location))


def test_external_data_through_a_link_is_refused(
    external: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "link.bin").symlink_to("/etc/hostname")
    with pytest.raises(ExportError, match="lies outside its folder"):
        read_graph(external("link.bin"))


def test_missing_external_data_is_named(external: Callable[[str], Path]) -> None:
    with pytest.raises(ExportError, match=r"external data 'gone\.bin' of 'w' is missing"):
        read_graph(external("gone.bin"))


def test_external_data_of_bytes_is_refused(external: Callable[[str], Path]) -> None:
    with pytest.raises(ExportError, match="tensor 'w' lies in the file"):
        read_graph(external("weights.bin").read_bytes())
