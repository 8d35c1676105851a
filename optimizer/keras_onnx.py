"""Keras models as ONNX graphs: the only module that knows tf2onnx."""

import gc
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from tf2onnx.graph import Graph
from tf2onnx.optimizer import back_to_back_optimizer

from headtail.errors import ExportError

COLLECT_PARAMETERS = 1_000_000
OPSET = 17  # the newest that tf2onnx 1.17 knows well; onnxruntime runs all of 7 to 23


def export_keras(model: keras.Model, opset: int = OPSET) -> bytes:
    """Return `model` as a serialised ONNX graph, the same bytes for the same model.

    One input is called `x` and one output `y`; several keep their Keras names. Tensors inside are
    named for the operation that makes them and its place in the graph (`relu_2`), because
    tf2onnx's own names count every graph that the process has converted before.

    Args:
        model: Built Keras model; the batch axis stays open.
        opset: ONNX operator set.

    Raises:
        ExportError: If tf2onnx cannot convert it.
    """
    # `from_keras` fails on Sequential models (KeyError: keras_tensor_N); a function does not.
    inputs, outputs = _names(model.inputs, "x"), _output_names(model)
    where = f"model '{model.name}'"

    @tf.function
    def call(*tensors: Any) -> dict[str, Any]:
        results = keras.tree.flatten(model(_packed(model, tensors), training=False))
        return {n: tf.identity(r, name=n) for n, r in zip(outputs, results, strict=True)}

    signature = [
        tf.TensorSpec((None, *t.shape[1:]), t.dtype, name=n)
        for n, t in zip(inputs, model.inputs, strict=True)
    ]
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        with _reproducible(), _frugal(model.count_params()), _without_xla():
            traced = call.get_concrete_function(*signature)
            proto, _ = tf2onnx.convert.from_function(
                call, signature, opset=opset, custom_op_handlers={"Erfc": (_one_minus_erf, [])}
            )
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ExportError(where, f"tf2onnx cannot convert it: {_first_line(error)}") from error
    _hold(proto, traced, len(inputs))
    by_name = {o.name: o for o in proto.graph.output}
    del proto.graph.output[:]
    proto.graph.output.extend(by_name[n] for n in outputs)
    try:
        return _canonical(proto).SerializeToString(deterministic=True)
    except onnx.checker.ValidationError as error:
        # tf2onnx leaves what it does not know in the graph and only logs it.
        raise ExportError(where, f"no valid ONNX comes of it: {_first_line(error)}") from error


def _hold(proto: onnx.ModelProto, traced: Any, inputs: int) -> None:
    """Make constants of the tensors that a function holds, which tf2onnx leaves as inputs.

    Keras' Normalization keeps its mean and variance so; variables are none of these.
    """
    captured = zip(traced.inputs[inputs:], traced.captured_inputs, strict=True)
    held = {t.name: value for t, value in captured if value.dtype != tf.resource}
    for given in [i for i in proto.graph.input if i.name in held]:
        proto.graph.input.remove(given)
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(held[given.name].numpy(), given.name)
        )


def before_softmax(model: keras.Model) -> keras.Model:
    """Return a model that ends before `model`'s final softmax, or `model` itself without one.

    The softmax may be a Softmax layer, an Activation layer, or the activation of the last Dense or
    convolution; in that case the new model's last layer is a linear copy with the weights as they
    are now, all others are shared.
    """
    results = []
    for output in model.outputs:
        layer, node, _ = output._keras_history
        inputs = layer._inbound_nodes[node].input_tensors
        activation = getattr(layer, "activation", None)
        if isinstance(layer, keras.layers.Softmax) or (
            isinstance(layer, keras.layers.Activation) and activation is keras.activations.softmax
        ):
            results.append(inputs[0])
        elif activation is keras.activations.softmax:
            results.append(_linear_copy(layer)(inputs[0]))
        else:
            results.append(output)
    if all(a is b for a, b in zip(results, model.outputs, strict=True)):
        return model
    return keras.Model(_structure(model), results if len(results) > 1 else results[0])


def _one_minus_erf(graph: Any, node: Any, _name: str, _arguments: list[Any]) -> None:
    """Turn Erfc, which TensorFlow's exact GELU uses and ONNX lacks, into 1 - Erf."""
    (source,), (target,) = node.input, node.output
    shape, dtype = graph.get_shape(target), graph.get_dtype(target)
    graph.remove_node(node.name)
    kind = tf2onnx.utils.map_onnx_to_numpy_type(dtype)
    one = graph.make_const(tf2onnx.utils.make_name("one"), np.array(1, kind))
    erf = graph.make_node("Erf", [source], dtypes=[dtype], shapes=[shape])
    graph.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=[target], dtypes=[dtype], shapes=[shape]
    )


def _linear_copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    copy = type(layer).from_config(layer.get_config() | {"activation": "linear"})
    copy.build(layer.input.shape)
    copy.set_weights(layer.get_weights())
    return copy


class _OrderedBackToBack(back_to_back_optimizer.BackToBackOptimizer):
    """tf2onnx's merging of neighbours, starting from nodes in the order of the graph.

    The original starts in the order of a set of names, which changes from process to process and
    with every conversion; as its merges are not confluent, so does the graph that comes out.
    """

    def _optimize_at_current_graph_level(self, g: Any) -> Any:
        for kinds, merge in back_to_back_optimizer._func_map.items():
            nodes = [n for n in g.get_nodes() if n.type in kinds]
            # Of a pair of kinds (Conv, BatchNormalization) only the first may come first.
            followers: dict[str, list[Any]] = {
                n.output[0]: [] for n in nodes if len(kinds) == 1 or n.type == kinds[0]
            }
            merged = [n for n in nodes if n.input[0] in followers]
            for node in merged:
                followers[node.input[0]].append(node)
            later = {n.output[0] for n in merged}
            queue = deque(name for name in followers if name not in later)
            while queue:
                name = queue.popleft()
                node = g.get_node_by_output(name, False)
                found = followers.get(name, [])
                is_inner = name not in g.outputs and bool(found)
                if is_inner and len(g.find_output_consumers(name)) == len(found):
                    queue.extend(merge(g, node, found))
        return g


@contextmanager
def _reproducible() -> Iterator[None]:
    """Take out of tf2onnx what makes the graph depend on the process and on earlier conversions.

    Which nodes it merges depends on their order and their names. The order comes from sets, here of
    nodes (by address) and of names (by hash), and the names from a counter that is never reset.
    """
    passes = tf2onnx.optimizer._get_optimizers()
    (name,) = (n for n, p in passes.items() if p is back_to_back_optimizer.BackToBackOptimizer)
    merging, extract = passes[name], Graph.extract_sub_graph_nodes

    def extract_in_order(graph: Any, *arguments: Any, **named: Any) -> list[Any]:
        places = {n.name: i for i, n in enumerate(graph.get_nodes())}
        return sorted(extract(graph, *arguments, **named), key=lambda n: places[n.name])

    passes[name], Graph.extract_sub_graph_nodes = _OrderedBackToBack, extract_in_order
    tf2onnx.utils.INTERNAL_NAME = 1
    try:
        yield
    finally:
        passes[name], Graph.extract_sub_graph_nodes = merging, extract


@contextmanager
def _frugal(parameters: int) -> Iterator[None]:
    """Free what tf2onnx leaves behind: each pass copies the graph, and cycles keep the copies.

    Collecting them takes ResNet50's export from a peak of 7.5 GB to 2.9 GB. It costs a tenth of a
    second a pass, so small models go without.
    """
    base = tf2onnx.optimizer.optimizer_base.GraphOptimizerBase
    original = base.optimize

    def optimize(self: Any, graph: Any, *arguments: Any) -> Any:
        gc.collect()
        return original(self, graph, *arguments)

    base.optimize = optimize if parameters > COLLECT_PARAMETERS else original
    try:
        yield
    finally:
        base.optimize = original


@contextmanager
def _without_xla() -> Iterator[None]:
    """Let functions that Keras wants compiled by XLA be part of the graph like any other.

    Keras compiles grouped convolutions, since TensorFlow on a CPU runs them no other way; tf2onnx
    cannot look inside, and ONNX has no such trouble.
    """
    original = tf.function

    def function(*arguments: Any, jit_compile: bool | None = None, **named: Any) -> Any:
        if jit_compile and not arguments:
            return lambda python_function: python_function
        return original(*arguments, jit_compile=jit_compile, **named)

    tf.function = function
    try:
        yield
    finally:
        tf.function = original


def _packed(model: keras.Model, tensors: Sequence[Any]) -> Any:
    """Return the tensors in the structure in which the model takes them: bare, list or dict."""
    return keras.tree.pack_sequence_as(_structure(model), list(tensors))


def _structure(model: keras.Model) -> Any:
    # Keras has no public way to ask; a Sequential model wraps a Functional one.
    functional = getattr(model, "_functional", None) or model
    return getattr(functional, "_inputs_struct", model.inputs)


def _names(tensors: list[Any], single: str) -> list[str]:
    return [single] if len(tensors) == 1 else [t.name for t in tensors]


def _output_names(model: keras.Model) -> list[str]:
    return ["y"] if len(model.outputs) == 1 else list(model.output_names)


def _canonical(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its nodes in depth-first order and every inner tensor renamed."""
    graph = proto.graph
    order = _depth_first(graph)
    fixed = {v.name for v in (*graph.input, *graph.output)}
    names: dict[str, str] = {"": ""}
    names |= {n: n for n in fixed}
    values = {t.name: t for t in graph.initializer}
    kept: list[onnx.TensorProto] = []
    for i, node in enumerate(order):
        for name in (n for n in _reads(node) if n in values and n not in names):
            names[name] = f"constant_{len(kept)}"
            kept.append(values[name])
        kind = node.op_type.lower()
        for j, name in enumerate(n for n in node.output if n not in names):
            names[name] = f"{kind}_{i}" if j == 0 else f"{kind}_{i}_{j}"
    for i, node in enumerate(order):
        node.name = f"{node.op_type}_{i}"
        _rename(node, names)
    for tensor in kept:
        tensor.name = names[tensor.name]
    _name_open_axes(graph)
    result = onnx.helper.make_model(
        onnx.helper.make_graph(order, "model", graph.input, graph.output, kept),
        opset_imports=_used_opsets(proto),
        ir_version=proto.ir_version,
        producer_name="tf2onnx",
        producer_version=tf2onnx.__version__,
    )
    onnx.checker.check_model(result)
    return result


def _depth_first(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that the outputs need, each after what it reads, in one fixed order."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    order: list[onnx.NodeProto] = []
    seen: set[int] = set()
    stack = [(makers[o.name], False) for o in reversed(graph.output) if o.name in makers]
    while stack:
        index, is_ready = stack.pop()
        if is_ready:
            order.append(graph.node[index])
        elif index not in seen:
            seen.add(index)
            stack.append((index, True))
            reads = [makers[n] for n in _reads(graph.node[index]) if n in makers]
            stack.extend((i, False) for i in reversed(reads) if i not in seen)
    return order


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors a node reads, those its inner graphs capture included."""
    yield from (n for n in node.input if n)
    for graph in _inner_graphs(node):
        made = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        made |= {n for inner in graph.node for n in inner.output}
        yield from (n for inner in graph.node for n in _reads(inner) if n not in made)
        yield from (v.name for v in graph.output if v.name not in made)


def _inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def _rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    node.doc_string = ""
    node.input[:] = [names.get(n, n) for n in node.input]
    node.output[:] = [names.get(n, n) for n in node.output]
    for graph in _inner_graphs(node):
        for inner in graph.node:
            _rename(inner, names)
        for value in graph.output:
            value.name = names.get(value.name, value.name)


def _name_open_axes(graph: onnx.GraphProto) -> None:
    for value in (*graph.input, *graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") or dim.dim_value < 0:
                dim.dim_param = "batch" if axis == 0 else f"{value.name}_{axis}"


def _used_opsets(proto: onnx.ModelProto) -> list[onnx.OperatorSetIdProto]:
    # tf2onnx lists ai.onnx.ml in every model.
    domains = {n.domain for n in proto.graph.node} | {""}
    return [o for o in proto.opset_import if o.domain in domains]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else repr(error)
