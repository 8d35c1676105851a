"""Cutting graphs nobody thought of: at every legal cut, head then tail equals the whole."""

from collections.abc import Callable

import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

Model = Callable[..., bytes]
node = helper.make_node


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
