"""Counting what nodes cost for one window: multiply-accumulates, parameters, memory.

Bodies of If, Loop and Scan are not entered: how often they run is known at run time only. The
weights they capture count as other parameters.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import onnx

from headtail.operations import Operations
from optimizer.cut.graph import Graph, Node
from optimizer.cut.operators import CROPPING, IN_PLACE, SHAPE_ONLY
from optimizer.cut.order import is_shape_only

# Where the weight stands among the inputs of operators that have one.
_CONV_WEIGHT = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3, "DeformConv": 1}
_DENSE_OPERANDS = {
    "MatMul": (0, 1),
    "FusedMatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "Gemm": (0, 1),
    "FusedGemm": (0, 1),
    "QGemm": (0, 3),
}
_RECURRENT = {"LSTM", "GRU", "RNN"}
Shape = tuple[int, ...]


def count_operations(graph: Graph, nodes: Sequence[Node]) -> Operations:
    """Return the counts of `nodes` for one window.

    Parameters are the floating-point weights (and quantised ones of weighted operators) that nodes
    read, each once; a batch normalisation that the exporter folded into its convolution has none of
    its own. An added weight is the bias of the weighted operator before it.
    """
    makers = {name: node for node in nodes for name in node.outputs}
    counted: set[str] = set()
    total = Operations()
    for node in nodes:
        total = total + _macs(graph, node)
        weights = [n for n in node.helpers if n not in counted and _is_parameter(graph, node, n)]
        counted.update(weights)
        values = sum(math.prod(graph.window_shape(n)) for n in weights)
        kind = _kind(graph, _weighted_before(node, makers))
        total = total + Operations(**{f"{kind}_parameters": values})
    return total


def peak_bytes(graph: Graph, nodes: Sequence[Node], later: Sequence[Node]) -> int:
    """Return the largest sum of data tensors alive while `nodes` run on one window.

    Element by element and shape-only operators work in place. For a plain chain of layers this is
    the largest sum of two successive maps. What `later` nodes or the model's outputs need stays
    alive throughout, also where it only skips over these nodes.

    Source: this reproduces the RAM figures printed in the energy-aware NAS paper with partitioning.
    """
    made = {name for node in nodes for name in node.outputs}
    needed = {n for node in later for n in node.data} | {s.name for s in graph.outputs}
    read = {n for node in nodes for n in node.data}
    unmade = made | {n for node in later for n in node.outputs}
    alive = {n: graph.window_bytes(n) for n in sorted((read | needed) - unmade)}
    last = {name: i for i, node in enumerate(nodes) for name in node.data}
    peak = sum(alive.values())
    for i, node in enumerate(nodes):
        dying = [n for n in node.data if last[n] == i and n not in needed]
        fresh = {n: graph.window_bytes(n) for n in node.outputs}
        is_in_place = node.op in IN_PLACE or is_shape_only(graph, node)
        reused = max((alive[n] for n in dying), default=0) if is_in_place else 0
        peak = max(peak, sum(alive.values()) + max(sum(fresh.values()) - reused, 0))
        alive.update(fresh)
        for name in (*dying, *(n for n in fresh if n not in last and n not in needed)):
            del alive[name]
    return peak


def _macs(graph: Graph, node: Node) -> Operations:
    shapes = [graph.window_shape(n) if n else () for n in node.proto.input]
    out = graph.window_shape(node.outputs[0]) if node.outputs else ()
    if node.op in _CONV_WEIGHT or node.op == "ConvTranspose":
        return _conv_macs(node, shapes, out)
    if node.op in _DENSE_OPERANDS and out:
        return Operations(dense_macs=math.prod(out) * _inner(node, shapes))
    if node.op == "Einsum":
        return Operations(dense_macs=_einsum_macs(node, shapes))
    if node.op in _RECURRENT:
        steps = shapes[0][1 if _attribute(node, "layout", 0) else 0]
        return Operations(dense_macs=steps * (math.prod(shapes[1]) + math.prod(shapes[2])))
    return Operations()


def _conv_macs(node: Node, shapes: Sequence[Shape], out: Shape) -> Operations:
    if node.op == "ConvTranspose":
        taps = math.prod(shapes[1][1:])  # output channels of a group x kernel
        positions = math.prod(out[:1] + out[2:])
        return Operations(
            conv_macs=math.prod(shapes[0]) * taps, conv_macz=positions * taps * shapes[1][0]
        )
    weight = shapes[_CONV_WEIGHT[node.op]]
    macs = math.prod(out) * math.prod(weight[1:])
    if _is_depthwise(node, weight):
        return Operations(depthwise_macs=macs)
    return Operations(conv_macs=macs, conv_macz=macs)


def _is_depthwise(node: Node, weight: Shape) -> bool:
    return bool(_attribute(node, "group", 1) > 1 and weight[1] == 1)


def _inner(node: Node, shapes: Sequence[Shape]) -> int:
    """Return the length of the axis that a matrix product sums over."""
    left = shapes[_DENSE_OPERANDS[node.op][0]]
    if not left:
        return 0
    return left[-2] if _attribute(node, "transA", 0) and len(left) > 1 else left[-1]


def _einsum_macs(node: Node, shapes: Sequence[Shape]) -> int:
    """Return the product of all index lengths of an Einsum; 0 for one operand or an ellipsis."""
    equation = str(_attribute(node, "equation", b"").decode("ascii")).replace(" ", "")
    terms = re.split(",", equation.split("->")[0])
    if len(terms) < 2 or "." in equation:
        return 0
    sizes = {
        letter: size
        for term, shape in zip(terms, shapes, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return math.prod(sizes.values())


def _kind(graph: Graph, node: Node | None) -> str:
    """Return which parameters a weighted operator's are: conv, depthwise, dense or other."""
    if node is None:
        return "other"
    if node.op in _CONV_WEIGHT:
        weight = graph.window_shape(node.proto.input[_CONV_WEIGHT[node.op]])
        return "depthwise" if _is_depthwise(node, weight) else "conv"
    if node.op == "ConvTranspose":
        return "conv"
    return "dense" if node.op in _RECURRENT | _DENSE_OPERANDS.keys() | {"Einsum"} else "other"


def _weighted_before(node: Node, makers: dict[str, Node]) -> Node | None:
    """Return the weighted operator that a node is, or whose bias it adds; None for neither."""
    if node.op != "Add":
        return node
    current = node
    while len(current.data) == 1 and (current is node or current.op in SHAPE_ONLY | CROPPING):
        before = makers.get(current.data[0])
        if before is None:
            return None
        current = before
    return current if current is not node else None


def _is_parameter(graph: Graph, node: Node, name: str) -> bool:
    """Return whether a helper tensor is a weight rather than a shape, an axis or a constant."""
    shape = graph.window_shape(name)
    if node.op in _CONV_WEIGHT.keys() | _DENSE_OPERANDS.keys() | {"ConvTranspose"}:
        return len(shape) > 0
    dtype = _dtype(graph, name)
    is_bias = node.op == "Add" and len(shape) > 0
    return dtype.startswith(("float", "bfloat")) and (math.prod(shape) > 1 or is_bias)


def _dtype(graph: Graph, name: str) -> str:
    if name in graph.weights:
        return onnx.helper.tensor_dtype_to_np_dtype(graph.weights[name].data_type).name
    seen = graph.probe.tensors.get(name)
    return seen.dtype if seen else ""


def _attribute(node: Node, name: str, default: object) -> Any:
    found = [a for a in node.proto.attribute if a.name == name]
    return onnx.helper.get_attribute_value(found[0]) if found else default
