"""Learning every tensor's type and shape by running the model on two batches.

Symbolic shape inference stops at the first operator it does not know, and every framework exports
other ones. A run knows them all: what is equal for batches of 2 and of 3 windows is fixed, and a
first axis of 2 and then 3 is the batch axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from headtail.errors import ExportError
from headtail.tensor import OIP_DATATYPES, Array, TensorSpec
from optimizer.cut.graph_file import first_line

BATCHES = (2, 3)
# Shape computations are vectors of a few numbers; larger tensors' values are not kept.
MAX_KEPT_VALUES = 64
# onnxruntime's exceptions have no base class of their own.
ORT_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Probed:
    """What two runs showed of one tensor."""

    dtype: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    values: tuple[Array, Array] | None
    """Both runs' values, for short tensors."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Every tensor of a model, as seen in two runs on different random windows."""

    inputs: tuple[TensorSpec, ...]
    tensors: Mapping[str, Probed]
    batches: tuple[int, int]
    """Batch sizes of the two runs; equal where the model has no batch axis."""

    def spec(self, name: str) -> TensorSpec | None:
        """Return the spec of a tensor of one size per window; None for any other."""
        seen = self.tensors.get(name)
        if seen is None or seen.dtype not in OIP_DATATYPES:
            return None
        first, second = seen.shapes
        if len(first) != len(second) or 0 in first:
            return None
        shape = list(first)
        for axis, (a, b) in enumerate(zip(first, second, strict=True)):
            if a != b:
                if axis or (a, b) != self.batches:
                    return None
                shape[0] = -1
        return TensorSpec(name=name, dtype=seen.dtype, shape=tuple(shape))

    def window_shape(self, name: str) -> tuple[int, ...] | None:
        """Return a tensor's shape for a batch of one; None for what is no tensor.

        Every axis grows linearly with the batch, so two sizes give the third.
        """
        seen = self.tensors.get(name)
        if seen is None:
            return None
        step = self.batches[1] - self.batches[0]
        if not step or len(seen.shapes[0]) != len(seen.shapes[1]):
            return seen.shapes[0]
        pairs = zip(*seen.shapes, strict=True)
        return tuple(max(a - (b - a) * (self.batches[0] - 1) // step, 0) for a, b in pairs)


def probe(model: onnx.ModelProto, where: str) -> Probe:
    """Run `model` twice and read every tensor's shape.

    A model whose first axes are open but whose inside is made for one window is taken as one
    without a batch axis.

    Raises:
        ExportError: If onnxruntime cannot run it, or an input is not of one size per window.
    """
    inputs = _input_specs(model, where)
    session = _session(model, where)
    if any(s.is_batchable for s in inputs):
        tensors = _run_both(session, inputs, BATCHES)
        if isinstance(tensors, dict):
            return Probe(inputs, tensors, BATCHES)
        inputs = tuple(TensorSpec(s.name, s.dtype, s.window_shape) for s in inputs)
    tensors = _run_both(session, inputs, (1, 1))
    if not isinstance(tensors, dict):
        raise ExportError(where, f"onnxruntime cannot run it: {tensors}")
    return Probe(inputs, tensors, (1, 1))


def random_windows(
    specs: Sequence[TensorSpec], count: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Return `count` finite windows per input: zeros and normal floats, or zeros and ones.

    The first axis of every array counts windows, also for an input without a batch axis. The share
    of zeros is drawn first, so that what selects by value gives two calls different sizes.
    """
    density = rng.uniform(0.3, 1.0)
    windows: dict[str, Array] = {}
    for spec in specs:
        shape = (count, *(spec.shape[1:] if spec.is_batchable else spec.shape))
        is_float = np.dtype(spec.dtype).kind == "f"
        values = rng.standard_normal(shape) if is_float else np.ones(shape)
        values = values * (rng.random(shape) < density)
        windows[spec.name] = np.asarray(values).astype(spec.dtype)
    return windows


def _input_specs(model: onnx.ModelProto, where: str) -> tuple[TensorSpec, ...]:
    stored = {t.name for t in model.graph.initializer}
    specs = []
    for value in model.graph.input:
        if value.name in stored:
            continue
        if not value.type.HasField("tensor_type"):
            raise ExportError(where, f"input '{value.name}' is no tensor")
        kind = value.type.tensor_type
        dtype = _dtype_name(kind.elem_type)
        if dtype not in OIP_DATATYPES or dtype == "float64":
            raise ExportError(where, f"input '{value.name}' is {dtype}: expected float32 or whole")
        if not kind.HasField("shape"):
            raise ExportError(where, f"input '{value.name}' has no shape")
        shape = tuple(d.dim_value if d.dim_value > 0 else -1 for d in kind.shape.dim)
        if -1 in shape[1:]:
            raise ExportError(
                where,
                f"input '{value.name}' has shape {shape} with -1 for open axes: only the first,"
                " the batch, may be open; export the model with the others fixed",
            )
        specs.append(TensorSpec(name=value.name, dtype=dtype, shape=shape))
    if not specs:
        raise ExportError(where, "it has no inputs")
    return tuple(specs)


def _dtype_name(elem_type: int) -> str:
    if elem_type == onnx.TensorProto.STRING:
        return "string"
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(elem_type).name
    except (KeyError, TypeError):
        return "of no known dtype"


def _session(model: onnx.ModelProto, where: str) -> ort.InferenceSession:
    """Load the model so that every node's outputs can be fetched."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {v.name for v in shown.graph.output}
    made = [name for node in model.graph.node for name in node.output if name]
    shown.graph.output.extend(onnx.ValueInfoProto(name=n) for n in made if n not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    content = shown.SerializeToString()
    del shown
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ExportError(where, f"onnxruntime cannot load it: {first_line(error)}") from error


def _run_both(
    session: ort.InferenceSession, inputs: Sequence[TensorSpec], batches: tuple[int, int]
) -> dict[str, Probed] | str:
    """Return what both runs showed, or onnxruntime's complaint."""
    rng = np.random.default_rng(0)
    names = [o.name for o in session.get_outputs()]
    seen: list[dict[str, tuple[str, tuple[int, ...], Array | None]]] = []
    for batch in batches:
        windows = random_windows(inputs, batch, rng)
        feed = {s.name: windows[s.name] if s.is_batchable else windows[s.name][0] for s in inputs}
        try:
            values = session.run(names, feed)
        except ORT_ERRORS as error:
            return first_line(error)
        seen.append({n: _look(v) for n, v in zip(names, values, strict=True) if _is_tensor(v)})
    first, second = seen
    tensors = {
        name: Probed(
            dtype=first[name][0],
            shapes=(first[name][1], second[name][1]),
            values=_both(first[name][2], second[name][2]),
        )
        for name in first.keys() & second.keys()
    }
    for spec in inputs:
        shapes = [(b, *spec.shape[1:]) if spec.is_batchable else spec.shape for b in batches]
        tensors[spec.name] = Probed(spec.dtype, (shapes[0], shapes[1]), None)
    return tensors


def _is_tensor(value: object) -> bool:
    return isinstance(value, np.ndarray)


def _look(value: Array) -> tuple[str, tuple[int, ...], Array | None]:
    keep = value.dtype.kind in "iubf" and value.size <= MAX_KEPT_VALUES
    return value.dtype.name, value.shape, value if keep else None


def _both(first: Array | None, second: Array | None) -> tuple[Array, Array] | None:
    return None if first is None or second is None else (first, second)
