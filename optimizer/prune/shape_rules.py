"""What layers without weights do with channels: activations, pools, padding, reshaping."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from optimizer.prune.channels import Ids
from optimizer.prune.flow import Flow, fixed
from optimizer.prune.layer_rules import Rule, channel_axis, is_channelwise
from optimizer.prune.tracer import Tracer

_LAYERS = keras.layers


def unchanged(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Layer that treats each number by itself."""
    if getattr(layer, "noise_shape", None) is not None:
        return frozen(tracer, layer, flow, f"'{tracer.path(layer)}' drops by a shape of its own")
    return flow.moved(layer.compute_output_spec(flow.spec))


def activation(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Activation layer with a function of Keras; any other freezes."""
    if is_channelwise(layer.activation):
        return unchanged(tracer, layer, flow)
    name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    return frozen(tracer, layer, flow, f"activation '{name}' of '{tracer.path(layer)}'")


def softmax(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Softmax over channels or positions."""
    return frozen(tracer, layer, flow, f"softmax '{tracer.path(layer)}'")


def scaled(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Rescaling by two numbers; by rows of them it freezes."""
    if np.ndim(layer.scale) == 0 and np.ndim(layer.offset) == 0:
        return unchanged(tracer, layer, flow)
    return frozen(tracer, layer, flow, f"'{tracer.path(layer)}' scales each channel by its own")


def spatial(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Pool, up-sampling, padding or cropping along the axes that hold no channels."""
    spec = layer.compute_output_spec(flow.spec)
    if flow.axis in (None, channel_axis(layer, flow)):
        return flow.moved(spec)
    reason = f"'{tracer.path(layer)}' works along the axis of channels"
    return frozen(tracer, layer, flow, reason)


def global_pool(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Global pool: one number for each channel."""
    spec = layer.compute_output_spec(flow.spec)
    if flow.axis is None:
        return flow.moved(spec)
    if flow.axis != channel_axis(layer, flow):
        reason = f"'{tracer.path(layer)}' pools along the axis of channels"
        return frozen(tracer, layer, flow, reason)
    return flow.moved(spec, flow.axis if len(spec.shape) == len(flow.shape) else 1)


def flatten(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Flatten: each channel comes to stand at many places."""
    spec = layer.compute_output_spec(flow.spec)
    rank = len(flow.shape)
    if layer.data_format == "channels_first" and rank > 2:
        flow = permuted(flow, (0, *range(2, rank), 1))
    return reshaped(tracer, layer, flow, spec)


def reshape(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Reshape, whose target counts channels."""
    result = reshaped(tracer, layer, flow, layer.compute_output_spec(flow.spec))
    if result.axis is not None and layer.target_shape[result.axis - 1] != -1:
        tracer.size(layer, "target_shape", result.ids, result.axis - 1)
    return result


def permute(_tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Permute: other order of the axes."""
    return permuted(flow, (0, *layer.dims)).moved(layer.compute_output_spec(flow.spec))


def repeat_vector(_tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """RepeatVector: (N, C) to (N, n, C)."""
    return flow.moved(layer.compute_output_spec(flow.spec), None if flow.axis is None else 2)


def frozen(tracer: Tracer, _layer: Any, flow: Flow, reason: str, spec: Any = None) -> Flow:
    """Freeze what comes in, and hand on a fixed tensor."""
    tracer.freeze(flow, reason)
    spec = _layer.compute_output_spec(flow.spec) if spec is None else spec
    return fixed(spec, flow.reason or reason)


def permuted(flow: Flow, order: Sequence[int]) -> Flow:
    """Return the flow of the transposed tensor; its axis `i` was `order[i]`."""
    shape = tuple(flow.shape[i] for i in order)
    spec = keras.KerasTensor(shape, flow.spec.dtype)
    axis = None if flow.axis is None else list(order).index(flow.axis)
    return Flow(spec, axis, flow.ids, flow.reason)


def reshaped(tracer: Tracer, operation: Any, flow: Flow, spec: Any) -> Flow:
    """Return the flow of the same numbers, in order, in another shape.

    Where the channels then lie along several axes, they are tied so that they may go along the
    last of these alone (so the two halves of a channel shuffle).
    """
    if flow.axis is None:
        return flow.moved(spec)
    before, after = flow.shape, tuple(spec.shape)
    sizes = [n for n in before[1:] if n is not None]
    if len(sizes) + 1 < len(before) or None in after[1:] or before[0] != after[0]:
        return frozen(tracer, operation, flow, f"open sizes at '{tracer.path(operation)}'", spec)
    lined = [-1 if i == flow.axis else 1 for i in range(1, len(before))]
    whole = np.broadcast_to(flow.ids.reshape(lined), sizes).reshape(after[1:])
    axes = [a for a in range(whole.ndim) if (whole != whole.take([0], axis=a)).any()]
    if not axes:
        return frozen(tracer, operation, flow, "a single channel", spec)
    rows = _rows(whole, axes[-1])
    for row in rows[1:]:
        tracer.channels.tie(rows[0], row)
    return Flow(spec, axes[-1] + 1, rows[0])


def _rows(whole: Ids, axis: int) -> Ids:
    """Return the different rows along an axis, the first first, shape (rows, size)."""
    flat = np.moveaxis(whole, axis, -1).reshape(math.prod(whole.shape) // whole.shape[axis], -1)
    _, first = np.unique(flat, axis=0, return_index=True)
    rows: Ids = flat[np.sort(first)]
    return rows


_UNCHANGED = (
    "ActivityRegularization AlphaDropout Dropout ELU GaussianDropout GaussianNoise Identity"
    " LeakyReLU ReLU SpatialDropout1D SpatialDropout2D SpatialDropout3D"
)
_SPATIAL = (
    "AveragePooling1D AveragePooling2D AveragePooling3D MaxPooling1D MaxPooling2D MaxPooling3D"
    " UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D"
    " Cropping1D Cropping2D Cropping3D"
)
_GLOBAL = (
    "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D"
    " GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D"
)
SHAPE_RULES: dict[type, Rule] = {
    **{getattr(_LAYERS, name): unchanged for name in _UNCHANGED.split()},
    **{getattr(_LAYERS, name): spatial for name in _SPATIAL.split()},
    **{getattr(_LAYERS, name): global_pool for name in _GLOBAL.split()},
    _LAYERS.Activation: activation,
    _LAYERS.Flatten: flatten,
    _LAYERS.Permute: permute,
    _LAYERS.RepeatVector: repeat_vector,
    _LAYERS.Rescaling: scaled,
    _LAYERS.Reshape: reshape,
    _LAYERS.Softmax: softmax,
}
