"""Cutting: at every legal cut, head then tail equals the whole, whatever the graph looks like."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from cut_case import CONV, Model, W, X, conv, crossings, node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from headtail.tensor import TensorSpec
from optimizer.cut.cut import cut_model, legal_cuts
from optimizer.cut.graph import read_graph


def test_branches_are_finished_one_by_one(onnx_model: Model) -> None:
    """Inside an Inception block the block's input crosses beside the finished branches."""
    nodes = [
        conv("x", "stem"),
        conv("stem", "a"),
        node("Relu", ["a"], ["ra"]),
        conv("stem", "b1"),
        conv("b1", "b2"),
        node("Concat", ["ra", "b2"], ["c"], axis=1),
        node("GlobalAveragePool", ["c"], ["y"]),
    ]
    expected = [["stem"], ["stem", "ra"], ["ra", "b1"], ["c"]]
    assert crossings(onnx_model(nodes, X, weights=W)) == expected


def test_skip_crosses_every_cut_it_spans(onnx_model: Model) -> None:
    """A residual that is added three convolutions later travels beside each of them."""
    nodes = [
        conv("x", "a"),
        conv("a", "b"),
        conv("b", "c"),
        conv("c", "d"),
        node("Add", ["a", "d"], ["s"]),
        conv("s", "y"),
    ]
    expected = [["a"], ["a", "b"], ["a", "c"], ["s"]]
    assert crossings(onnx_model(nodes, X, weights=W)) == expected


def test_skipped_tensor_is_not_copied_through_segments(onnx_model: Model) -> None:
    """A segment takes from all earlier ones, so a skip passes by those that do not need it."""
    nodes = [
        conv("x", "a"),
        conv("a", "b"),
        conv("b", "c"),
        node("Add", ["a", "c"], ["s"]),
        conv("s", "y"),
    ]
    graph = read_graph(onnx_model(nodes, X, weights=W))
    model = cut_model(graph, legal_cuts(graph))
    assert [[s.name for s in g.inputs] for g in model.segments] == [["x"], ["a"], ["a", "b"], ["s"]]
    assert [[s.name for s in g.outputs] for g in model.segments] == [["a"], ["b"], ["s"], ["y"]]


def test_model_without_batch_axis_is_cut(onnx_model: Model) -> None:
    nodes = [conv("x", "a"), node("Relu", ["a"], ["b"]), conv("b", "y")]
    content = onnx_model(nodes, {"x": (1, 2, 8)}, weights=W)
    assert crossings(content) == [["b"]]
    assert legal_cuts(read_graph(content))[0].tensors == (TensorSpec("b", "float32", (1, 2, 8)),)


def test_vectors_without_any_batch_are_cut(onnx_model: Model) -> None:
    nodes = [
        node("MatMul", ["x", "m"], ["a"]),
        node("Tanh", ["a"], ["b"]),
        node("MatMul", ["b", "m"], ["y"]),
    ]
    assert crossings(onnx_model(nodes, {"x": (4,)}, weights={"m": np.eye(4)})) == [["b"]]


def test_several_inputs_and_outputs(onnx_model: Model) -> None:
    """An input used late and an output made early both cross the cuts between."""
    nodes = [
        conv("x", "a"),
        conv("a", "early"),
        conv("early", "c"),
        node("Add", ["c", "late"], ["d"]),
        conv("d", "y"),
    ]
    content = onnx_model(
        nodes, {"x": ("N", 2, 8), "late": ("N", 2, 8)}, outputs=["early", "y"], weights=W
    )
    assert crossings(content) == [["late", "a"], ["late", "early"], ["early", "d"]]


def test_inputs_of_which_only_one_is_a_batch(onnx_model: Model) -> None:
    """A gain for all windows keeps the model from being one of batches, not from being cut."""
    nodes = [conv("x", "a"), node("Mul", ["a", "gain"], ["b"]), conv("b", "y")]
    content = onnx_model(nodes, {"x": ("N", 2, 8), "gain": (1,)}, weights=W)
    assert not read_graph(content).is_batchable
    assert crossings(content) == [["b"]]


def test_whole_number_inputs(onnx_model: Model) -> None:
    """Token numbers are looked up on the edge."""
    nodes = [node("Gather", ["table", "x"], ["e"]), conv("e", "y")]
    content = onnx_model(
        nodes,
        {"x": ("N", 2)},
        weights=W | {"table": np.random.default_rng(0).standard_normal((3, 8))},
        types={"x": TensorProto.INT64},
    )
    assert crossings(content) == [["e"]]


def test_if_takes_what_its_branches_capture(onnx_model: Model) -> None:
    """A tensor and a weight used only inside a body belong to the node around it."""
    x = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    then_body = helper.make_graph([node("Add", ["a", "w0"], ["out"])], "then", [], [x])
    else_body = helper.make_graph([node("Sub", ["a", "b"], ["out"])], "else", [], [x])
    nodes = [
        conv("x", "a"),
        conv("a", "b"),
        node("ReduceSum", ["b"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["flag"]),
        node("If", ["flag"], ["c"], then_branch=then_body, else_branch=else_body),
        conv("c", "y"),
    ]
    content = onnx_model(
        nodes, {"x": (1, 2, 8)}, weights=W | {"w0": np.ones(8), "zero": np.array(0.0)}
    )
    assert crossings(content) == [["a"], ["a", "b"], ["a", "b", "flag"], ["c"]]


def test_loop_body_keeps_its_own_names(onnx_model: Model) -> None:
    """A body whose names equal outer ones still computes with its own."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            node("Identity", ["more"], ["go"]),
            node("Conv", ["state", "w"], ["a"], **CONV),
            node("Add", ["a", "skip"], ["next"]),
        ],
        "body",
        [
            info("i", TensorProto.INT64, []),
            info("more", TensorProto.BOOL, []),
            info("state", TensorProto.FLOAT, None),
        ],
        [info("go", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, None)],
    )
    nodes = [
        conv("x", "skip"),
        conv("skip", "first"),
        node("Loop", ["trips", "", "first"], ["last"], body=body),
        conv("last", "y"),
    ]
    content = onnx_model(nodes, X, weights=W | {"trips": np.array(3)})
    assert crossings(content) == [["skip"], ["skip", "first"], ["last"]]


def test_shared_weight_is_in_every_segment_that_needs_it(onnx_model: Model) -> None:
    nodes = [conv("x", "a"), conv("a", "b"), conv("b", "y")]
    content = onnx_model(nodes, X, weights=W)
    assert crossings(content) == [["a"], ["b"]]
    graph = read_graph(content)
    for segment in cut_model(graph, legal_cuts(graph)).segments:
        assert len(onnx.ModelProto.FromString(segment.content).graph.initializer) == 1


def test_weights_computed_from_weights_never_cross(onnx_model: Model) -> None:
    """A transposed weight is computed in the segment that multiplies by it."""
    nodes = [
        node("Transpose", ["m"], ["mt"], perm=[1, 0]),
        node("MatMul", ["x", "mt"], ["a"]),
        node("MatMul", ["a", "mt"], ["y"]),
    ]
    weights = {"m": np.random.default_rng(0).standard_normal((4, 4))}
    assert crossings(onnx_model(nodes, {"x": ("N", 4)}, weights=weights)) == [["a"]]


def test_batch_size_is_known_in_every_segment(onnx_model: Model) -> None:
    """A class token expanded to the batch late takes the batch from what crosses, not from x."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Concat", ["n", "two_eight"], ["target"], axis=0),
        conv("x", "a"),
        conv("a", "b"),
        node("Expand", ["token", "target"], ["t"]),
        node("Concat", ["b", "t"], ["c"], axis=1),
        node("GlobalAveragePool", ["c"], ["y"]),
    ]
    weights = W | {
        "zero": np.array([0]), "two_eight": np.array([2, 8]), "token": np.ones((1, 2, 8))
    }  # fmt: skip
    assert crossings(onnx_model(nodes, X, weights=weights)) == [["a"], ["c"]]


@pytest.mark.parametrize("opset", range(8, 22))
def test_every_opset(onnx_model: Model, opset: int) -> None:
    nodes = [
        conv("x", "a"),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[2], strides=[2]),
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "v", "bias"], ["e"]),
        node("Softmax", ["e"], ["y"]),
    ]
    weights = W | {"v": np.random.default_rng(0).standard_normal((8, 3)), "bias": np.ones(3)}
    content = onnx_model(nodes, X, weights=weights, opset=opset, ir_version=4)
    assert crossings(content) == [["b"], ["c"]]


def test_running_counters_in_names_leave_the_bytes_alone(small_cnn: bytes) -> None:
    """What an exporter counted before, its node names and its texts do not reach the bundle."""
    other = onnx.ModelProto.FromString(small_cnn)
    other.producer_name, other.doc_string = "somebody", "a text"
    fixed = {"x", "y", ""}
    for i, proto in enumerate(other.graph.node):
        proto.name = f"node{i}"
        proto.doc_string = "text"
        proto.input[:] = [n if n in fixed else f"{n}__{n.encode()[0]}" for n in proto.input]
        proto.output[:] = [n if n in fixed else f"{n}__{n.encode()[0]}" for n in proto.output]
    for tensor in other.graph.initializer:
        tensor.name = f"{tensor.name}__{tensor.name.encode()[0]}"

    def segments(content: bytes) -> list[bytes]:
        graph = read_graph(content)
        return [s.content for s in cut_model(graph, legal_cuts(graph)).segments]

    assert segments(small_cnn) == segments(other.SerializeToString())


def test_crossing_names_are_readable_and_unique(onnx_model: Model) -> None:
    """Exporters' wrappings go, numbers get the operator's name, the model's own ends stay."""
    names = ["StatefulPartitionedCall/net/conv/Relu:0", "123", "456", "/layer1/conv/Conv_output_0"]
    nodes = [conv(a, b) for a, b in zip(["in:0", *names], [*names, "out/y"], strict=True)]
    content = onnx_model(nodes, {"in:0": ("N", 2, 8)}, outputs=["out/y"], weights=W)
    graph = read_graph(content)
    model = cut_model(graph, legal_cuts(graph))
    made = [s.name for g in model.segments for s in g.outputs]
    assert made == ["net.conv.Relu", "conv", "conv_2", "layer1.conv.Conv", "out/y"]


@st.composite
def dags(draw: st.DrawFn) -> list[onnx.NodeProto]:
    """Draw a graph of small operators on tensors of shape (N, 2, 4); the last is the output."""
    made, nodes = ["x", "z"], []
    for i in range(draw(st.integers(2, 12))):
        op = draw(st.sampled_from(["Conv", "Relu", "Add", "Mul", "MaxPool", "Tanh", "Concat"]))
        pick = st.sampled_from(made[-5:])
        sources, out, options = [draw(pick)], f"t{i}", {}
        if op == "Conv":
            sources, options = [*sources, "w"], CONV
        elif op == "MaxPool":
            options = {"kernel_shape": [3], "pads": [1, 1], "strides": [1]}
        elif op in {"Add", "Mul"}:
            sources.append(draw(pick))
        if op == "Concat":
            nodes.append(node(op, [*sources, draw(pick)], [f"{out}w"], axis=1))
            nodes.append(node("Conv", [f"{out}w", "v"], [out], **CONV))
        else:
            nodes.append(node(op, sources, [out], **options))
        made.append(out)
    return nodes


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nodes=dags(), early=st.booleans(), batch=st.sampled_from(["N", 1]))
def test_any_graph_equals_its_segments(
    nodes: Sequence[onnx.NodeProto], early: bool, batch: str | int
) -> None:
    """Head then tail is the whole at every cut of random graphs, with one output or two."""
    rng = np.random.default_rng(5)
    outputs = [nodes[-1].output[0]]
    if early and nodes[0].output[0] != outputs[0]:
        outputs.append(nodes[0].output[0])
    shape = (batch, 2, 4)
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", "z")],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [
            onnx.numpy_helper.from_array(rng.uniform(-0.5, 0.5, s).astype(np.float32), n)
            for n, s in (("w", (2, 2, 3)), ("v", (2, 4, 3)))
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    read: set[str] = {n for proto in nodes for n in proto.input}
    if {"x", "z"} & read:
        crossings(model.SerializeToString())
