"""The proof that segments equal their model, and that it fails when they do not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headtail.errors import DataError, ExportError, NotFinite, ShapeMismatch, VerificationFailed
from headtail.tensor import Array, TensorSpec
from optimizer.cut.cut import CutModel, cut_model, legal_cuts
from optimizer.cut.graph import Graph, read_graph
from optimizer.cut.graph_probe import random_windows
from optimizer.verify import (
    MIN_WINDOWS,
    TOLERANCE,
    batches,
    before_softmax,
    check_windows,
    load_runner,
    onnx_reference,
    verify,
)

Model = Callable[..., bytes]
node = helper.make_node
SPEC = TensorSpec("x", "float32", (-1, 2))
FIXED = TensorSpec("x", "float32", (1, 2))


def cut_everywhere(content: bytes) -> tuple[Graph, CutModel, dict[str, Array]]:
    """Return a model, its segments, and random windows."""
    graph = read_graph(content)
    windows = random_windows(graph.inputs, MIN_WINDOWS, np.random.default_rng(0))
    return graph, cut_model(graph, legal_cuts(graph)), windows


def test_equal_segments_pass(small_cnn: bytes) -> None:
    graph, model, windows = cut_everywhere(small_cnn)
    assert verify(model, onnx_reference(graph), windows, before_softmax(graph)) <= TOLERANCE


def test_one_wrong_weight_fails(small_cnn: bytes) -> None:
    """A relative change of 1e-3 in one bias of the first segment is found."""
    graph, model, windows = cut_everywhere(small_cnn)
    proto = onnx.ModelProto.FromString(model.segments[0].content)
    bias = next(t for t in proto.graph.initializer if list(t.dims) == [4])
    values = numpy_helper.to_array(bias).copy()
    values[0] *= 1.001
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    wrong = replace(model.segments[0], content=proto.SerializeToString())
    broken = replace(model, segments=(wrong, *model.segments[1:]))
    with pytest.raises(VerificationFailed, match="output 'y': expected segments equal"):
        verify(broken, onnx_reference(graph), windows, before_softmax(graph))


def test_error_that_softmax_hides_is_found(small_cnn: bytes) -> None:
    """Adding one number to all logits leaves every probability as it was."""
    graph, model, windows = cut_everywhere(small_cnn)
    honest = onnx_reference(graph)
    with pytest.raises(VerificationFailed):
        verify(
            model,
            lambda feed: {n: v + 1 for n, v in honest(feed).items()},
            windows,
            before_softmax(graph),
        )


def test_no_number_is_no_equality(small_cnn: bytes) -> None:
    graph, model, windows = cut_everywhere(small_cnn)
    honest = onnx_reference(graph)
    with pytest.raises(VerificationFailed, match="received inf"):
        verify(
            model,
            lambda feed: {n: v * np.nan for n, v in honest(feed).items()},
            windows,
            before_softmax(graph),
        )


def test_windows_that_influence_each_other_are_found(onnx_model: Model) -> None:
    """A sum over the batch is not a model of independent windows."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("ReduceSum", ["a", "axis"], ["s"], keepdims=1),
        node("Add", ["a", "s"], ["y"]),
    ]
    content = onnx_model(nodes, {"x": ("N", 2)}, weights={"w": np.eye(2), "axis": np.array([0])})
    graph, model, windows = cut_everywhere(content)
    with pytest.raises(VerificationFailed):
        verify(model, onnx_reference(graph), windows, before_softmax(graph))


def test_logits_are_compared_not_probabilities(small_cnn: bytes) -> None:
    assert before_softmax(read_graph(small_cnn)) == {"y": "logits"}


def test_softmax_behind_a_reshape_is_found(onnx_model: Model) -> None:
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("Softmax", ["a"], ["p"]),
        node("Reshape", ["p", "flat"], ["y"]),
    ]
    content = onnx_model(nodes, {"x": ("N", 2, 2)}, weights={"flat": np.array([-1, 4])})
    assert before_softmax(read_graph(content)) == {"y": "a"}


def test_output_without_softmax_is_compared_itself(onnx_model: Model) -> None:
    content = onnx_model([node("Sigmoid", ["x"], ["y"])], {"x": ("N", 2)})
    assert before_softmax(read_graph(content)) == {"y": "y"}


def test_runner_goes_on_from_what_crossed(small_cnn: bytes) -> None:
    """Head and tail run apart give what the chain gives in one go."""
    _, model, windows = cut_everywhere(small_cnn)
    runner = load_runner(model)
    whole = runner.run(windows)
    for k in range(1, len(model.segments)):
        head = runner.run(windows, 0, k)
        tail = runner.run({s.name: head[s.name] for s in model.segments[k].inputs}, k)
        np.testing.assert_array_equal(whole["y"], tail["y"])


def test_windows_onnxruntime_cannot_run_give_one_line(onnx_model: Model) -> None:
    """A lookup beyond its table is the model's own error."""
    content = onnx_model(
        [node("Gather", ["table", "x"], ["y"])],
        {"x": ("N",)},
        weights={"table": np.ones((2, 3))},
        types={"x": onnx.TensorProto.INT64},
    )
    graph, model, _ = cut_everywhere(content)
    with pytest.raises(ExportError, match="model: onnxruntime cannot run it") as caught:
        verify(model, onnx_reference(graph), {"x": np.full(64, 99)}, before_softmax(graph))
    assert "\n" not in str(caught.value)


def test_batches_of_a_batchable_model() -> None:
    windows = {"x": np.zeros((5, 2), np.float32)}
    assert [len(b["x"]) for b in batches(windows, [SPEC], 2)] == [2, 2, 1]


def test_batches_of_a_fixed_model_are_windows() -> None:
    windows = {"x": np.zeros((3, 1, 2), np.float32)}
    assert [b["x"].shape for b in batches(windows, [FIXED], 2)] == [(1, 2)] * 3


@pytest.mark.parametrize(
    ("array", "error", "reason"),
    [
        (np.zeros((3, 4), np.float32), ShapeMismatch, r"expected shape \(any, 2\), received"),
        (np.full((3, 2), np.nan, np.float32), NotFinite, "received 6 NaN or inf of 6"),
    ],
)
def test_windows_are_checked(array: Array, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        check_windows({"x": array}, [SPEC], "X.npz")


def test_missing_and_unequal_windows_are_named() -> None:
    other = TensorSpec("z", "float32", (-1, 2))
    x = np.zeros((3, 2), np.float32)
    with pytest.raises(DataError, match=r"X\.npz: no array 'z'; it has x"):
        check_windows({"x": x}, [SPEC, other], "X.npz")
    with pytest.raises(DataError, match=r"different numbers of windows: \[2, 3\]"):
        check_windows({"x": x, "z": x[:2]}, [SPEC, other], "X.npz")
