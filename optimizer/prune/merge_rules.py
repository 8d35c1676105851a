"""What layers and operations of several tensors do with channels."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from optimizer.prune.flow import Flow, fixed
from optimizer.prune.tracer import Tracer

MergeRule = Callable[[Tracer, Any, Sequence[Flow]], Flow]
_LAYERS = keras.layers


def elementwise(tracer: Tracer, operation: Any, flows: Sequence[Flow]) -> Flow:
    """Add, multiply and the like, one number with one number; sizes of 1 are broadcast.

    Channels that meet are tied. Tensors of fewer axes stand at the last ones, behind the batch.
    """
    specs = [f.spec for f in flows]
    try:
        spec = operation.compute_output_spec(specs)
    except TypeError:
        spec = operation.compute_output_spec(*specs)
    rank = len(spec.shape)
    lifted = [_lifted(f, rank) for f in flows]
    path = tracer.path(operation)
    carriers = [f for f in lifted if f.axis is not None and len(f.ids) > 1]
    axes = {f.axis for f in carriers}
    if len(axes) != 1:
        reason = f"'{path}' meets channels of several axes" if axes else "no channels"
        return _frozen(tracer, lifted, spec, reason)
    (axis,) = axes
    assert axis is not None
    meeting = [f for f in lifted if f.shape[axis] != 1]
    if any(f.shape[axis] != spec.shape[axis] for f in meeting):
        return _frozen(tracer, lifted, spec, f"open sizes at '{path}'")
    united = tracer.unite(meeting, f"'{path}'")
    if united is None:
        return _frozen(tracer, lifted, spec, f"'{path}' with a fixed tensor")
    return united.moved(spec, axis)


def concatenate(tracer: Tracer, operation: Any, flows: Sequence[Flow]) -> Flow:
    """Concatenation, along the channels or another axis."""
    spec = operation.compute_output_spec([f.spec for f in flows])
    axis = operation.axis % len(spec.shape)
    carriers = {f.axis for f in flows if f.axis is not None}
    path = tracer.path(operation)
    if not carriers:
        return fixed(spec, flows[0].reason)
    if len(carriers) > 1 or axis == 0 or None in [f.shape[axis] for f in flows]:
        return _frozen(tracer, flows, spec, f"'{path}' meets channels of several axes")
    if carriers == {axis}:
        rows = [
            tracer.frozen(int(f.spec.shape[axis]), f.reason) if f.axis is None else f.ids
            for f in flows
        ]
        return Flow(spec, axis, np.concatenate(rows))
    united = tracer.unite(flows, f"'{path}'")
    return fixed(spec, f"'{path}' with a fixed tensor") if united is None else united.moved(spec)


def _lifted(flow: Flow, rank: int) -> Flow:
    """Return the flow with axes of size 1 behind the batch until it has `rank` axes."""
    missing = rank - len(flow.shape)
    if missing == 0:
        return flow
    shape = (flow.shape[0], *[1] * missing, *flow.shape[1:])
    axis = None if flow.axis is None else flow.axis + missing
    return Flow(keras.KerasTensor(shape, flow.spec.dtype), axis, flow.ids, flow.reason)


def _frozen(tracer: Tracer, flows: Sequence[Flow], spec: Any, reason: str) -> Flow:
    for flow in flows:
        tracer.freeze(flow, reason)
    return fixed(spec, next((f.reason for f in flows if f.reason), reason))


_ELEMENTWISE = "Add Average Maximum Minimum Multiply Subtract"
MERGE_RULES: dict[type, MergeRule] = {
    **{getattr(_LAYERS, name): elementwise for name in _ELEMENTWISE.split()},
    _LAYERS.Concatenate: concatenate,
}
