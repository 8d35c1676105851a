"""Writing one segment as an ONNX model: the same bytes for the same model, in every process.

Names inside a segment are numbered, nodes and tensors carry no text, attributes and opsets are
sorted. Only the tensors that cross a partition point keep a readable form of their names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from headtail.tensor import TensorSpec
from optimizer.cut.graph import BATCH, Graph, Node
from optimizer.cut.graph_file import subgraphs

_READABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]{0,63}$")
# What exporters put around a layer's own name: TensorFlow's call and output number, tf2onnx's
# running counter (which depends on what was exported before), PyTorch's output suffix.
_WRAPPINGS = (r"^(PartitionedCall|StatefulPartitionedCall)/", r":\d+$", r"__\d+$", r"_output_\d+$")


@dataclass(frozen=True, slots=True)
class SegmentTensors:
    """The data tensors at a segment's borders, in the order they are made."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Names:
    """Names of crossing tensors: readable, unique; inputs and outputs keep the model's own."""

    def __init__(self, graph: Graph, crossing: Iterable[str]) -> None:
        fixed = {s.name for s in (*graph.inputs, *graph.outputs)}
        makers = {name: node for node in graph.nodes for name in node.outputs}
        self._names = {name: name for name in fixed}
        for name in crossing:
            if name not in fixed:
                taken = set(self._names.values())
                self._names[name] = _unique(_readable(name, makers[name].op), taken)

    def __getitem__(self, name: str) -> str:
        """Return the name that a tensor has at the borders of segments."""
        return self._names[name]

    def public(self, spec: TensorSpec) -> TensorSpec:
        """Return `spec` under its name at the borders of segments."""
        return msgspec.structs.replace(spec, name=self._names[spec.name])


def segment_tensors(graph: Graph, nodes: Sequence[Node], later: Sequence[Node]) -> SegmentTensors:
    """Return what a segment takes in, and what `later` nodes or the model's outputs need of it."""
    made = [name for node in nodes for name in node.outputs]
    inside = set(made)
    read = {n for node in nodes for n in node.data} - inside
    wanted = {n for node in later for n in node.data} | {s.name for s in graph.outputs}
    before = dict.fromkeys([*(s.name for s in graph.inputs), *_made_before(graph, nodes)])
    return SegmentTensors(
        inputs=tuple(_spec(graph, name) for name in before if name in read),
        outputs=tuple(_spec(graph, name) for name in made if name in wanted),
    )


def build_segment(
    graph: Graph, nodes: Sequence[Node], tensors: SegmentTensors, names: Names
) -> tuple[bytes, dict[str, str]]:
    """Return a segment's serialised ONNX, and its inner names of the tensors it makes."""
    helpers = _helpers(graph, nodes)
    renamer = _Renamer({s.name: names[s.name] for s in (*tensors.inputs, *tensors.outputs)})
    batch = next((s for s in tensors.inputs if s.is_batchable), None)
    protos = [renamer.node(n) for n in _batch_nodes(batch) if BATCH in helpers]
    makers = {id(node): node for node in helpers.values() if node is not None}
    protos.extend(renamer.node(node.proto) for node in makers.values())
    protos.extend(renamer.node(node.proto) for node in nodes)
    stored = [graph.weights[n] for n in helpers if n in graph.weights]
    if BATCH in helpers:
        stored.append(numpy_helper.from_array(np.asarray([0], np.int64), f"{BATCH}<first>"))
    proto = helper.make_graph(
        protos,
        "segment",
        [_value_info(names.public(s)) for s in tensors.inputs],
        [_value_info(names.public(s)) for s in tensors.outputs],
        [_renamed(t, renamer[t.name]) for t in stored],
    )
    hidden = {n: renamer[n] for node in nodes for n in node.outputs}
    return _model(graph.source, proto).SerializeToString(deterministic=True), hidden


class _Renamer:
    """Gives every tensor of a segment a name: the public one, or the next number."""

    def __init__(self, public: Mapping[str, str]) -> None:
        self._names = dict(public)
        self._taken = set(public.values())

    def __getitem__(self, name: str) -> str:
        if name and name not in self._names:
            self._names[name] = _unique(f"t{len(self._names)}", self._taken)
            self._taken.add(self._names[name])
        return self._names.get(name, "")

    def node(self, proto: onnx.NodeProto) -> onnx.NodeProto:
        """Return a node under new names, without text."""
        renamed = onnx.NodeProto(op_type=proto.op_type, domain=proto.domain)
        if proto.overload:
            renamed.overload = proto.overload
        renamed.input.extend(self[n] for n in proto.input)
        for attribute in sorted(proto.attribute, key=lambda a: str(a.name)):
            copy = renamed.attribute.add()
            copy.CopyFrom(attribute)
            copy.ClearField("doc_string")
            for body in subgraphs(copy):
                self._body(body)
        renamed.output.extend(self[n] for n in proto.output)
        return renamed

    def _body(self, body: onnx.GraphProto) -> None:
        """Rename a subgraph in place; its own names are new, those it captures are ours."""
        own = [v.name for v in body.input] + [t.name for t in body.initializer]
        own += [name for node in body.node for name in node.output if name]
        hidden = {n: self._names.pop(n) for n in dict.fromkeys(own) if n in self._names}
        protos = [self.node(node) for node in body.node]
        for value in (*body.input, *body.output):
            value.name = self[value.name]
            value.ClearField("doc_string")
        for tensor in body.initializer:
            tensor.CopyFrom(_renamed(tensor, self[tensor.name]))
        del body.node[:], body.value_info[:], body.metadata_props[:]
        body.node.extend(protos)
        body.name = "body"
        body.ClearField("doc_string")
        for name in dict.fromkeys(own):
            self._names.pop(name, None)
        self._names.update(hidden)


def _helpers(graph: Graph, nodes: Sequence[Node]) -> dict[str, Node | None]:
    """Return the weights and sizes that nodes need, each after what it is computed from."""
    found: dict[str, Node | None] = {}
    stack = [name for node in reversed(nodes) for name in reversed(node.helpers)]
    while stack:
        name = stack[-1]
        maker = None if name in graph.weights else graph.helpers.get(name)
        missing = [n for n in (maker.helpers if maker else ()) if n not in found]
        if missing and name not in found:
            stack.extend(missing)
            continue
        stack.pop()
        if name not in found:
            found[name] = maker
            if maker is not None:
                found.update({n: maker for n in maker.outputs if n not in found})
    return found


def _batch_nodes(source: TensorSpec | None) -> list[onnx.NodeProto]:
    """Return the nodes that read the batch size off an input of the segment."""
    if source is None:
        return []
    return [
        helper.make_node("Shape", [source.name], [f"{BATCH}<shape>"]),
        helper.make_node("Gather", [f"{BATCH}<shape>", f"{BATCH}<first>"], [BATCH], axis=0),
    ]


def _made_before(graph: Graph, nodes: Sequence[Node]) -> list[str]:
    mine = {id(n) for n in nodes}
    return [name for node in graph.nodes if id(node) not in mine for name in node.outputs]


def _spec(graph: Graph, name: str) -> TensorSpec:
    spec = graph.spec(name)
    assert spec is not None, f"'{name}' crosses a cut that is not legal"
    return spec


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    shape = ["batch" if n < 0 else n for n in spec.shape]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return helper.make_tensor_value_info(spec.name, kind, shape)


def _renamed(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    copy.ClearField("doc_string")
    del copy.metadata_props[:]
    return copy


def _model(source: onnx.ModelProto, graph: onnx.GraphProto) -> onnx.ModelProto:
    """Return a model of this graph under its source's opsets."""
    used = {node.domain for node in _all_nodes(graph)} | {""}
    opsets = sorted(
        {
            ("" if o.domain == "ai.onnx" else o.domain): o.version for o in source.opset_import
        }.items()
    )
    return helper.make_model(
        graph,
        producer_name="headtail",
        ir_version=max(source.ir_version, 4),  # below 4, initialisers must be inputs as well
        opset_imports=[helper.make_opsetid(d, v) for d, v in opsets if d in used],
    )


def _all_nodes(graph: onnx.GraphProto) -> Iterable[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in subgraphs(attribute):
                yield from _all_nodes(body)


def _readable(name: str, op: str) -> str:
    for pattern in _WRAPPINGS:
        name = re.sub(pattern, "", name)
    name = re.sub(r"[^A-Za-z0-9_.]+", ".", name).strip(".")
    return name if _READABLE.match(name) else op.lower()


def _unique(name: str, taken: Iterable[str]) -> str:
    taken = set(taken)
    candidates = (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3)))
    return next(n for n in candidates if n not in taken)
