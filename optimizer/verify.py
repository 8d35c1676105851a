"""Proving that a chain of segments equals the model it was cut from.

What is compared is each output before its final softmax, which would hide an error of the logits
behind an exponential.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort

from headtail.errors import DataError, ExportError, VerificationFailed
from headtail.segment import SessionOptions, load_session
from headtail.tensor import Array, TensorSpec, check_finite
from optimizer.cut.cut import CutModel
from optimizer.cut.graph import Graph
from optimizer.cut.graph_file import first_line
from optimizer.cut.graph_probe import ORT_ERRORS
from optimizer.cut.operators import SHAPE_ONLY

TOLERANCE = 1e-5
"""Largest error allowed, relative to the largest absolute output."""
MIN_WINDOWS = 64
BATCH_WINDOWS = 8
Tensors = dict[str, Array]
Reference = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Maps some windows by input name to what the model makes of them before any final softmax, by
output name."""


def before_softmax(graph: Graph) -> dict[str, str]:
    """Return, per output, the tensor to compare: the final softmax's input, or the output itself.

    Operators that only change the shape may stand between softmax and output.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    compared = {}
    for spec in graph.outputs:
        node = makers.get(spec.name)
        while node is not None and node.op in SHAPE_ONLY | {"Identity"}:
            node = makers.get(node.data[0]) if node.data else None
        is_softmax = node is not None and node.op == "Softmax"
        compared[spec.name] = node.data[0] if node is not None and is_softmax else spec.name
    return compared


def onnx_reference(graph: Graph) -> Reference:
    """Return the model as it was read, run by onnxruntime as anybody would: all optimisations on.

    It runs one window at a time, so that a model whose windows influence one another does not pass
    as one of independent windows.

    Raises:
        ExportError: If onnxruntime cannot load it.
    """
    compared = before_softmax(graph)
    session = _shown_session(graph.source, sorted(set(compared.values())))

    def run(feed: Mapping[str, Array]) -> Tensors:
        names = list(compared.values())
        parts = batches(feed, graph.inputs, 1) if graph.is_batchable else [dict(feed)]
        rows = [_run(session, names, part, graph.where) for part in parts]
        return {
            output: np.concatenate([row[i] for row in rows]) if graph.is_batchable else rows[0][i]
            for i, output in enumerate(compared)
        }

    return run


@dataclass(frozen=True, slots=True)
class Runner:
    """The segments of a cut model in onnxruntime, before they are a bundle."""

    model: CutModel
    sessions: tuple[ort.InferenceSession, ...]
    shown: tuple[Mapping[str, str], ...]
    """Per segment, the tensors to return beyond its outputs: name to return, by name inside."""

    def run(self, tensors: Mapping[str, Array], start: int = 0, stop: int | None = None) -> Tensors:
        """Run segments [start, stop) and return every tensor known afterwards."""
        known = dict(tensors)
        for i in range(start, len(self.sessions) if stop is None else stop):
            segment = self.model.segments[i]
            names = [s.name for s in segment.outputs]
            feed = {s.name: known[s.name] for s in segment.inputs}
            values = _run(self.sessions[i], [*names, *self.shown[i]], feed, f"segment {i}")
            known.update(zip([*names, *self.shown[i].values()], values, strict=True))
        return known


def load_runner(model: CutModel, compared: Mapping[str, str] | None = None) -> Runner:
    """Load every segment as the runtimes do.

    Args:
        model: What was cut.
        compared: Tensors before a softmax, by output (`before_softmax`); each comes back under
            its name with "before:" in front of the output's.
    """
    sessions, shown = [], []
    for i, segment in enumerate(model.segments):
        extra = {
            segment.hidden[tensor]: f"before:{output}"
            for output, tensor in (compared or {}).items()
            if tensor != output and tensor in segment.hidden
        }
        content = _show(segment.content, list(extra)) if extra else segment.content
        options = SessionOptions(threads=os.cpu_count() or 1)
        sessions.append(load_session(content, options, f"segment {i}"))
        shown.append(extra)
    return Runner(model, tuple(sessions), tuple(shown))


def verify(
    model: CutModel,
    reference: Reference,
    windows: Mapping[str, Array],
    compared: Mapping[str, str],
) -> float:
    """Compare the chain of segments with the model it came from.

    The segments are the same whatever the partition point, and so is the order in which they run:
    one pass through the chain covers every point. On the way every tensor that crosses a point is
    held against its spec, for each batch.

    Args:
        model: What was cut.
        reference: The model it came from.
        windows: At least `MIN_WINDOWS` windows, see `batches`.
        compared: See `before_softmax`.

    Returns:
        The largest error, relative to the largest absolute output.

    Raises:
        VerificationFailed: If it is over `TOLERANCE` or no number.
        TensorError: If a tensor that crosses is not what its spec says.
    """
    runner = load_runner(model, compared)
    worst = {spec.name: (0.0, 0.0) for spec in model.outputs}
    for feed in batches(windows, model.inputs, BATCH_WINDOWS):
        expected = reference(feed)
        known = runner.run(feed)
        for segment in model.segments:
            for spec in segment.outputs:
                spec.check(known[spec.name], "tensor")
        for name, (error, scale) in worst.items():
            actual = known.get(f"before:{name}", known[name])
            worst[name] = _larger((error, scale), expected[name], actual)
    found = {n: error / scale if scale > 0 else error for n, (error, scale) in worst.items()}
    for name, error in found.items():
        if not error <= TOLERANCE:
            raise VerificationFailed(f"output '{name}'", error, TOLERANCE)
    return max(found.values())


def check_windows(
    windows: Mapping[str, Array], specs: Sequence[TensorSpec], where: str
) -> dict[str, Array]:
    """Return the windows of a model's inputs, checked: all there, right shape, finite.

    Raises:
        DataError: If an array is missing or their numbers differ.
        TensorError: If one has another dtype or shape, or is not finite.
    """
    found = {}
    for spec in specs:
        if spec.name not in windows:
            raise DataError(where, f"no array '{spec.name}'; it has {', '.join(sorted(windows))}")
        array = windows[spec.name]
        row = spec.shape[1:] if spec.is_batchable else spec.shape
        TensorSpec(spec.name, spec.dtype, (-1, *row)).check(array, where)
        check_finite(array, f"{where} '{spec.name}'")
        found[spec.name] = array
    counts = {len(array) for array in found.values()}
    if len(counts) > 1:
        raise DataError(where, f"inputs hold different numbers of windows: {sorted(counts)}")
    return found


def batches(
    windows: Mapping[str, Array], specs: Sequence[TensorSpec], size: int
) -> Iterator[dict[str, Array]]:
    """Yield what to feed a model: `size` windows at a time, or one where not all are batches.

    Args:
        windows: By input name; the first axis counts windows, also where the input has no batch.
        specs: The model's inputs.
        size: Windows of one batch.
    """
    step = size if all(s.is_batchable for s in specs) else 1
    for start in range(0, len(windows[specs[0].name]), step):
        yield {
            s.name: windows[s.name][start : start + step]
            if s.is_batchable
            else windows[s.name][start]
            for s in specs
        }


def _larger(before: tuple[float, float], expected: Array, actual: Array) -> tuple[float, float]:
    if expected.shape != actual.shape:
        return float("inf"), before[1]
    reference = expected.astype(np.float64)
    error = float(np.abs(actual.astype(np.float64) - reference).max(initial=0.0))
    scale = float(np.abs(reference).max(initial=0.0))
    if not np.isfinite(error) or not np.isfinite(scale):
        return float("inf"), before[1]
    return max(before[0], error), max(before[1], scale)


def _show(content: bytes, names: Sequence[str]) -> bytes:
    model = onnx.ModelProto.FromString(content)
    known = {v.name for v in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    return model.SerializeToString()


def _run(
    session: ort.InferenceSession, names: Sequence[str], feed: Mapping[str, Array], where: str
) -> list[Array]:
    try:
        values: list[Array] = session.run(list(names), dict(feed))
    except ORT_ERRORS as error:
        raise ExportError(where, f"onnxruntime cannot run it: {first_line(error)}") from error
    return values


def _shown_session(model: onnx.ModelProto, names: Sequence[str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    content = _show(model.SerializeToString(), names)
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ExportError("model", f"onnxruntime cannot load it: {first_line(error)}") from error
