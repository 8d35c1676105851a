"""A tail as one ONNX graph: what decodes the activation as it travels, then every segment.

A stock server hands a model the tensors of the message as they are, so decoding is part of the
graph: a cast for float16, DequantizeLinear for int8, and for int4 a look-up of both values of each
byte. The arithmetic is that of `headtail.wire`, to the bit.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from headtail.bundle import Bundle
from headtail.bundle.manifest import Point, WireEncoding
from headtail.errors import ExportError
from headtail.tensor import Array, TensorSpec
from headtail.wire import Affine, Encoding, wire_specs

LEAST_OPSET = 10  # DequantizeLinear's first
_TYPES: Mapping[str, int] = {
    name: helper.np_dtype_to_tensor_dtype(np.dtype(name))
    for name in ("float16", "float32", "int8", "uint8")
}
_NIBBLES = np.arange(16, dtype=np.int8)


def tail_graph(bundle: Bundle, point: Point, wire: WireEncoding) -> onnx.ModelProto:
    """Return the model that takes an activation as it travels and gives the model's outputs.

    Args:
        bundle: Whose segments are run.
        point: The partition point the activation comes from.
        wire: How it travels.

    Raises:
        ExportError: If the segments do not make one graph, or the graph cannot decode.
    """
    manifest = bundle.manifest
    where = f"{manifest.name} {manifest.version} from partition point {point.index}"
    outputs = [spec.name for spec in manifest.outputs]
    passed = sorted({spec.name for spec in point.activation} & set(outputs))
    if passed:
        reason = f"output '{passed[0]}' crosses it; a graph cannot give what it takes"
        raise ExportError(where, reason)
    parts = [_segment(c, i) for i, c in enumerate(bundle.segments[point.index :], point.index)]
    opset = _opset(parts, where)
    travelling = dict(
        zip((s.name for s in point.activation), wire_specs(point.activation, wire.encoding),
            strict=True)
    )  # fmt: skip
    decoded = [s for s in point.activation if travelling[s.name] != s]
    nodes, constants = decoders(decoded, wire)
    real = {spec.name: _real(spec.name) for spec in decoded}
    for part in parts:
        nodes += [_reading(node, real) for node in part.graph.node]
        constants += part.graph.initializer
    graph = helper.make_graph(
        nodes,
        manifest.tail_name(point.index, wire.encoding),
        [_value(travelling[spec.name]) for spec in point.activation],
        [_value(spec) for spec in manifest.outputs],
        constants,
    )
    functions = {(f.domain, f.name): f for part in parts for f in part.functions}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(d, v) for d, v in sorted(opset.items())],
        ir_version=max(part.ir_version for part in parts),
        functions=list(functions.values()),
        producer_name="headtail",
    )
    onnx.checker.check_model(model)
    return model


def _segment(content: bytes, index: int) -> onnx.ModelProto:
    """Return a segment whose inner names are its own."""
    return compose.add_prefix(
        onnx.load_from_string(content),
        f"{index}/",
        rename_inputs=False,
        rename_outputs=False,
        rename_functions=False,
    )


def _opset(parts: Iterable[onnx.ModelProto], where: str) -> dict[str, int]:
    """Return the operator sets that all segments share, by domain."""
    versions: dict[str, int] = {}
    for part in parts:
        for entry in part.opset_import:
            if versions.setdefault(entry.domain, entry.version) != entry.version:
                raise ExportError(where, f"its segments use several versions of '{entry.domain}'")
    if versions.get("", 0) < LEAST_OPSET:
        raise ExportError(where, f"operator set {versions.get('', 0)} is below {LEAST_OPSET}")
    return versions


def _reading(node: onnx.NodeProto, real: Mapping[str, str]) -> onnx.NodeProto:
    """Return a node that reads decoded tensors, in its subgraphs too."""
    node.input[:] = [real.get(name, name) for name in node.input]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _reading(inner, real)
    return node


def _real(name: str) -> str:
    return f"{name}/decoded"


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    shape = [f"{spec.name}/{i}" if n < 0 else n for i, n in enumerate(spec.shape)]
    if spec.is_batchable:
        shape[0] = "batch"
    return helper.make_tensor_value_info(
        spec.name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), shape
    )


def decoders(
    specs: Sequence[TensorSpec], wire: WireEncoding
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the nodes that make `NAME/decoded` of each tensor NAME as it travels.

    Args:
        specs: The tensors before they were encoded, each of float32.
        wire: How they travel.

    Returns:
        The nodes in order, and their constants.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    for spec in specs:
        if wire.encoding is Encoding.FLOAT16:
            nodes.append(
                helper.make_node("Cast", [spec.name], [_real(spec.name)], to=_TYPES["float32"])
            )
            continue
        affine = wire.affine[spec.name]
        decode = _int8 if wire.encoding is Encoding.INT8 else _int4
        made, known = decode(spec, affine)
        nodes += made
        constants += [numpy_helper.from_array(array, name) for name, array in known.items()]
    return nodes, constants


def _int8(spec: TensorSpec, affine: Affine) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    scale, zero_point = f"{spec.name}/scale", f"{spec.name}/zero_point"
    node = helper.make_node("DequantizeLinear", [spec.name, scale, zero_point], [_real(spec.name)])
    return [node], {
        scale: np.array(affine.scale, np.float32),
        zero_point: np.array(affine.zero_point, np.int8),
    }


def _int4(spec: TensorSpec, affine: Affine) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Look up the two values of each byte; of an odd number the last one is dropped."""
    name, values = spec.name, spec.window_values
    table, flat, shape = f"{name}/table", f"{name}/flat", f"{name}/shape"
    window = list(spec.shape[spec.is_batchable :])
    rows = [-1] * spec.is_batchable
    index, pairs, row = f"{name}/index", f"{name}/pairs", f"{name}/row"
    constants: dict[str, Array] = {
        table: _pairs(affine),
        flat: np.array([*rows, values + values % 2], np.int64),
        shape: np.array([*rows, *window], np.int64),
    }
    nodes = [
        helper.make_node("Cast", [name], [index], to=onnx.TensorProto.INT32),
        helper.make_node("Gather", [table, index], [pairs], axis=0),
        helper.make_node("Reshape", [pairs, flat], [row]),
    ]
    if values % 2:
        starts, ends, axes = (f"{name}/{part}" for part in ("starts", "ends", "axes"))
        constants |= {
            starts: np.array([0], np.int64),
            ends: np.array([values], np.int64),
            axes: np.array([len(rows)], np.int64),
        }
        nodes.append(helper.make_node("Slice", [row, starts, ends, axes], [row := f"{name}/even"]))
    return [*nodes, helper.make_node("Reshape", [row, shape], [_real(name)])], constants


def _pairs(affine: Affine) -> Array:
    """Return the two real values of each byte, shape (256, 2), the low four bits' first."""
    signed = np.where(_NIBBLES > 7, _NIBBLES - 16, _NIBBLES).astype(np.float32)
    real = (signed - np.float32(affine.zero_point)) * np.float32(affine.scale)
    return np.stack([np.tile(real, 16), np.repeat(real, 16)], axis=1)
