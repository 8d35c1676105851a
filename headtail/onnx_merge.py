"""Neighbouring segments as one ONNX graph, so that one call of onnxruntime runs them all.

A graph is copied field by field without the onnx package, which the edge does not carry. The names
inside a segment are its own and are made distinct; the tensors between segments keep theirs.

Source: field numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from headtail.protobuf import (
    LENGTH_DELIMITED,
    VARINT,
    Field,
    Malformed,
    fields,
    read_varint,
    varint,
)
from headtail.protobuf import field as write_field

MAX_BYTES = 16 << 20  # of all segments together: a larger graph is worth neither the copy nor time
# ModelProto
_IR_VERSION, _GRAPH, _OPSET = 1, 7, 8
_MODEL_ASIDE = {2, 3, 4, 5, 6, 14}  # who made it, its documentation: changes no result
# GraphProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
_GRAPH_ASIDE = {2, 10, 13, 14, 16}  # name, documentation, shapes of inner tensors, annotations
# NodeProto
_NODE_INPUT, _NODE_OUTPUT, _ATTRIBUTE = 1, 2, 5
_SUBGRAPHS = {6, 11}  # AttributeProto.g and .graphs: names in there may mean those out here
_TENSOR_NAME, _VALUE_NAME = 8, 1


class NotMergeable(ValueError):
    """Segments that have to run one after another; says why."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """What is taken from one segment."""

    ir_version: int
    opsets: Mapping[bytes, int]
    nodes: Sequence[bytes]
    initializers: Sequence[bytes]
    values: Mapping[str, bytes]
    """ValueInfoProto of each input and output, by name."""


def merge_graphs(segments: Sequence[bytes], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return one ONNX model that does what `segments` do one after another.

    Args:
        segments: ONNX models; each takes tensors by name from `inputs` and the models before it.
        inputs: What the whole takes, in its order.
        outputs: What it is to give, each the output of one segment.

    Raises:
        NotMergeable: If they are too large together, are no ONNX models that we understand to the
            last field, differ in versions, or hold subgraphs.
    """
    if sum(map(len, segments)) > MAX_BYTES:
        raise NotMergeable(f"over {MAX_BYTES} bytes together")
    try:
        graphs = [_read_model(content, f"{i}/") for i, content in enumerate(segments)]
    except (Malformed, UnicodeDecodeError) as error:
        raise NotMergeable(str(error)) from error
    if len({g.ir_version for g in graphs}) != 1:
        raise NotMergeable("IR versions differ")
    values = {name: value for g in reversed(graphs) for name, value in g.values.items()}
    if any(name not in values for name in (*inputs, *outputs)):
        raise NotMergeable("an input or output is in no segment")
    graph = b"".join(
        [
            *(write_field(_NODE, n) for g in graphs for n in g.nodes),
            write_field(2, b"merged"),
            *(write_field(_INITIALIZER, t) for g in graphs for t in g.initializers),
            *(write_field(_INPUT, values[name]) for name in inputs),
            *(write_field(_OUTPUT, values[name]) for name in outputs),
        ]
    )
    ir_version = varint(_IR_VERSION << 3 | VARINT) + varint(graphs[0].ir_version)
    opsets = b"".join(write_field(_OPSET, o) for o in _opsets(graphs))
    return ir_version + write_field(_GRAPH, graph) + opsets


def _opsets(graphs: Sequence[_Graph]) -> list[bytes]:
    """Return the OperatorSetIdProto of every domain."""
    versions: dict[bytes, int] = {}
    for graph in graphs:
        for domain, version in graph.opsets.items():
            if versions.setdefault(domain, version) != version:
                raise NotMergeable(f"versions of the operator set '{domain!r}' differ")
    return [
        write_field(1, domain) + varint(2 << 3 | VARINT) + varint(version)
        for domain, version in versions.items()
    ]


def _read_model(data: bytes, prefix: str) -> _Graph:
    ir_version, opsets, graphs = 0, {}, []
    for f in fields(data, 0, len(data)):
        if f.number == _IR_VERSION and f.wire_type == VARINT:
            ir_version = read_varint(data, f.content, f.stop)[0]
        elif f.number == _OPSET and f.wire_type == LENGTH_DELIMITED:
            domain, version = _read_opset(data, f)
            opsets[domain] = version
        elif f.number == _GRAPH and f.wire_type == LENGTH_DELIMITED:
            graphs.append(f)
        elif f.number not in _MODEL_ASIDE:
            raise NotMergeable(f"field {f.number} of a model")
    if len(graphs) != 1:
        raise NotMergeable(f"{len(graphs)} graphs in a model")
    return _read_graph(data, graphs[0], prefix, ir_version, opsets)


def _read_opset(data: bytes, opset: Field) -> tuple[bytes, int]:
    domain, version = b"", 0
    for f in fields(data, opset.content, opset.stop):
        if f.number == 1 and f.wire_type == LENGTH_DELIMITED:
            domain = data[f.content : f.stop]
        elif f.number == 2 and f.wire_type == VARINT:
            version = read_varint(data, f.content, f.stop)[0]
        else:
            raise NotMergeable(f"field {f.number} of an operator set")
    return domain, version


def _read_graph(
    data: bytes, graph: Field, prefix: str, ir_version: int, opsets: Mapping[bytes, int]
) -> _Graph:
    parts: dict[int, list[Field]] = {_NODE: [], _INITIALIZER: [], _INPUT: [], _OUTPUT: []}
    for f in fields(data, graph.content, graph.stop):
        if f.number in parts and f.wire_type == LENGTH_DELIMITED:
            parts[f.number].append(f)
        elif f.number not in _GRAPH_ASIDE:
            raise NotMergeable(f"field {f.number} of a graph")
    values = {
        _text_in(data, f, _VALUE_NAME).decode(): data[f.content : f.stop]
        for f in parts[_INPUT] + parts[_OUTPUT]
    }
    rename = _renamer({name.encode() for name in values}, prefix.encode())
    return _Graph(
        ir_version,
        opsets,
        [_renamed_node(data, f, rename) for f in parts[_NODE]],
        [_renamed_tensor(data, f, rename) for f in parts[_INITIALIZER]],
        values,
    )


def _renamer(public: Set[bytes], prefix: bytes) -> Callable[[bytes], bytes]:
    """Return what makes a name inside a segment its own; an empty name is an absent input."""
    if any(name.partition(b"/")[0].isdigit() for name in public):
        raise NotMergeable("a tensor is named as inner ones will be")
    return lambda name: name if name in public or not name else prefix + name


def _renamed_node(data: bytes, node: Field, rename: Callable[[bytes], bytes]) -> bytes:
    pieces = []
    for f in fields(data, node.content, node.stop):
        if f.number in (_NODE_INPUT, _NODE_OUTPUT) and f.wire_type == LENGTH_DELIMITED:
            pieces.append(write_field(f.number, rename(data[f.content : f.stop])))
            continue
        if f.number == _ATTRIBUTE and f.wire_type == LENGTH_DELIMITED:
            numbers = {part.number for part in fields(data, f.content, f.stop)}
            if numbers & _SUBGRAPHS:
                raise NotMergeable("a node holds a subgraph")
        pieces.append(data[f.start : f.stop])
    return b"".join(pieces)


def _renamed_tensor(data: bytes, tensor: Field, rename: Callable[[bytes], bytes]) -> bytes:
    name = rename(_text_in(data, tensor, _TENSOR_NAME))
    # Of a field that may come once, the last one counts.
    return data[tensor.content : tensor.stop] + write_field(_TENSOR_NAME, name)


def _text_in(data: bytes, message: Field, number: int) -> bytes:
    """Return the last field `number` of a message, empty where there is none."""
    found = b""
    for f in fields(data, message.content, message.stop):
        if f.number == number and f.wire_type == LENGTH_DELIMITED:
            found = data[f.content : f.stop]
    return found
