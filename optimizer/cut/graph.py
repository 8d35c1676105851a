"""An ONNX model as the cutter sees it: data nodes in order, and what only feeds them.

Three kinds of tensors:

- *data* depends on the model's inputs; it is what a partition point may cut;
- *weights* depend on nothing: initialisers, constants and what is computed from them;
- *sizes* depend on the inputs through their shapes only. Sizes that are equal for every batch are
  turned into constants here, Reshape gets a constant target, and what remains depends on the batch
  size alone (`BATCH`), which every segment can read off any of its inputs.

Weights and sizes never cross a partition point: each segment holds those it needs. What two
segments need is therefore stored in both, since a segment must run without the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from headtail.errors import ExportError
from headtail.tensor import TensorSpec
from optimizer.cut.graph_file import read_model, subgraphs
from optimizer.cut.graph_probe import Probe, probe
from optimizer.cut.operators import FOLLOWERS, SELECTING, VALUE_SIZED

# Name of the one-element int64 tensor holding the batch size; "<" is in no exporter's names.
BATCH = "<batch>"
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"}


@dataclass(frozen=True, slots=True)
class Node:
    """One operator."""

    proto: onnx.NodeProto
    data: tuple[str, ...]
    """Data tensors it reads, also from within its subgraphs; no name twice."""
    helpers: tuple[str, ...]
    """Weights and sizes it reads."""

    @property
    def op(self) -> str:
        """The operator's type."""
        return str(self.proto.op_type)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors it makes."""
        return tuple(name for name in self.proto.output if name)


@dataclass(frozen=True, slots=True)
class Graph:
    """A model ready for cutting. The protos in it are shared: read them, never change them."""

    source: onnx.ModelProto
    """The model as it was read, the reference of every comparison."""
    where: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    nodes: tuple[Node, ...]
    """Data nodes that the outputs need, in the file's topological order."""
    helpers: Mapping[str, Node]
    """The node that computes a weight or size, by the tensor's name."""
    weights: Mapping[str, onnx.TensorProto]
    """Stored weights, by name."""
    probe: Probe
    loose: frozenset[str]
    """Data tensors whose size depends on values, though two runs may have shown the same."""

    @property
    def is_batchable(self) -> bool:
        """Whether every input and output holds one window per row."""
        return all(s.is_batchable for s in (*self.inputs, *self.outputs))

    def spec(self, name: str) -> TensorSpec | None:
        """Return the spec of a tensor of one size per window; None for any other."""
        return None if name in self.loose else self.probe.spec(name)

    def window_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor for a batch of one; () for what is no tensor."""
        if name in self.weights:
            return tuple(self.weights[name].dims)
        return self.probe.window_shape(name) or ()

    def window_bytes(self, name: str) -> int:
        """Return the bytes of a tensor for a batch of one; 0 for what is no tensor."""
        seen = self.probe.tensors.get(name)
        if seen is None or seen.dtype == "object":
            return 0
        return int(np.prod(self.window_shape(name), dtype=np.int64)) * np.dtype(seen.dtype).itemsize


def read_graph(source: Path | bytes) -> Graph:
    """Read an ONNX model for cutting.

    Args:
        source: A file, or the content of one.

    Raises:
        ExportError: If it is no ONNX model that onnxruntime runs, or its inputs and outputs are
            not tensors of one size per window.
    """
    model, where = read_model(source)
    seen = probe(model, where)
    outputs = tuple(_output_spec(seen, value, where) for value in model.graph.output)
    builder = _Builder(model, seen)
    for proto in model.graph.node:
        builder.add(proto, where)
    made = set(builder.data)
    for spec in outputs:
        if spec.name not in made:
            raise ExportError(where, f"output '{spec.name}' does not depend on the inputs")
        if spec.name in builder.loose:
            raise ExportError(where, f"output '{spec.name}': its size depends on values")
    return Graph(
        source=model,
        where=where,
        inputs=seen.inputs,
        outputs=outputs,
        nodes=_needed(builder.nodes, [s.name for s in outputs]),
        helpers=builder.helpers,
        weights=builder.weights,
        probe=seen,
        loose=frozenset(builder.loose),
    )


class _Builder:
    """Sorts nodes into data and helpers, in file order."""

    def __init__(self, model: onnx.ModelProto, seen: Probe) -> None:
        self.seen = seen
        self.weights = {t.name: t for t in model.graph.initializer}
        self.helpers: dict[str, Node] = {}
        self.nodes: list[Node] = []
        self.data = {s.name for s in seen.inputs}
        self.sizes = {BATCH}
        self.loose: set[str] = set()
        sparse = [t.values.name for t in model.graph.sparse_initializer]
        if sparse:
            raise ExportError("model", f"sparse initialiser '{sparse[0]}': expected a dense one")

    def add(self, proto: onnx.NodeProto, where: str) -> None:
        if proto.op_type in _RANDOM:
            raise ExportError(where, f"operator {proto.op_type} is random: its outputs differ")
        reads = _reads(proto)
        data = tuple(n for n in reads if n in self.data)
        node = Node(proto, data, tuple(n for n in reads if n not in self.data))
        is_loose = not self.loose.isdisjoint(data)
        if node.op in VALUE_SIZED or (is_loose and node.op in FOLLOWERS | SELECTING):
            self.loose.update(node.outputs)
        if not data:
            self._add_helper(node)
        elif node.op == "Shape" and not is_loose and self.seen.spec(data[0]) is not None:
            self._add_shape(node)
        else:
            self._add_data(node)

    def _add_helper(self, node: Node) -> None:
        """Take a node that no window reaches; fold it where it is a size of one value."""
        if any(n in self.sizes for n in node.helpers):
            if self._fold(node):
                return
            self.sizes.update(node.outputs)
        self.helpers.update(dict.fromkeys(node.outputs, node))

    def _fold(self, node: Node) -> bool:
        """Store what a node makes as weights, where both runs made the same; else do nothing."""
        seen = [self.seen.tensors.get(name) for name in node.outputs]
        values = [s.values for s in seen if s is not None and s.values is not None]
        if len(values) < len(seen) or not all(np.array_equal(a, b) for a, b in values):
            return False
        for name, (value, _) in zip(node.outputs, values, strict=True):
            self.weights[name] = numpy_helper.from_array(np.asarray(value), name)
        return True

    def _add_shape(self, node: Node) -> None:
        """Make a Shape node a constant, or the batch size followed by constants."""
        if self._fold(node):
            return
        name = node.outputs[0]
        values = self.seen.tensors[name].values
        assert values is not None, "a shape is short"
        self.sizes.add(name)
        rest = f"{name}<rest>"
        self.weights[rest] = numpy_helper.from_array(np.asarray(values[0][1:], np.int64), rest)
        proto = onnx.helper.make_node("Concat", [BATCH, rest], [name], axis=0)
        self.helpers[name] = Node(proto, (), (BATCH, rest))

    def _add_data(self, node: Node) -> None:
        spec = self.seen.spec(node.outputs[0]) if node.outputs else None
        target = node.proto.input[1] if node.op == "Reshape" and len(node.proto.input) > 1 else ""
        if target in self.sizes and spec is not None:
            fixed = f"{node.outputs[0]}<shape>"
            self.weights[fixed] = numpy_helper.from_array(np.asarray(spec.shape, np.int64), fixed)
            proto = onnx.NodeProto()
            proto.CopyFrom(node.proto)
            proto.input[1] = fixed
            node = Node(proto, node.data, (fixed,))
        self.nodes.append(node)
        self.data.update(node.outputs)


def _reads(proto: onnx.NodeProto) -> list[str]:
    """Return every tensor a node reads, those its subgraphs capture included, each once."""
    names = [n for n in proto.input if n]
    for attribute in proto.attribute:
        for body in subgraphs(attribute):
            names.extend(captured(body))
    return list(dict.fromkeys(names))


def captured(body: onnx.GraphProto) -> list[str]:
    """Return the tensors a subgraph takes from around it."""
    own = {v.name for v in body.input} | {t.name for t in body.initializer}
    found: list[str] = []
    for node in body.node:
        found.extend(n for n in _reads(node) if n not in own)
        own.update(node.output)
    found.extend(v.name for v in body.output if v.name not in own)
    return found


def _needed(nodes: Iterable[Node], outputs: Iterable[str]) -> tuple[Node, ...]:
    wanted = set(outputs)
    kept = []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.outputs):
            kept.append(node)
            wanted.update(node.data)
    return tuple(reversed(kept))


def _output_spec(seen: Probe, value: onnx.ValueInfoProto, where: str) -> TensorSpec:
    spec = seen.spec(value.name)
    if spec is None:
        raise ExportError(
            where, f"output '{value.name}' is no tensor of one dtype and size per window"
        )
    return spec
