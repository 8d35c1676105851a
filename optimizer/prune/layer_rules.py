"""What each layer that has weights does with channels."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from optimizer.prune.channels import Ids
from optimizer.prune.flow import Flow, fixed, positions
from optimizer.prune.tracer import Tracer, Work

Rule = Callable[[Tracer, Any, Flow], Flow]
_LAYERS = keras.layers
_CHANNELWISE = (
    "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear"
    " log_sigmoid mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus"
    " sparse_sigmoid squareplus tanh tanh_shrink threshold"
)


def is_channelwise(activation: Any) -> bool:
    """Return whether an activation is one of Keras that treat each number by itself."""
    if activation is None:
        return True
    name = getattr(activation, "__name__", "")
    return name in _CHANNELWISE.split() and getattr(keras.activations, name, None) is activation


def channel_axis(layer: Any, flow: Flow) -> int:
    """Return the axis of channels by the layer's data format."""
    is_first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return 1 if is_first else len(flow.shape) - 1


def conv(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Convolution, grouped or not.

    With at least as many groups as channels in each, whole groups can go (so the hidden depthwise
    convolutions of ConvNeXt); with fewer, as many channels of each group, at the same places.
    """
    spec = layer.compute_output_spec(flow.spec)
    axis = channel_axis(layer, flow)
    ids = tracer.along(layer, flow, axis)
    size = int(flow.spec.shape[axis])
    out = tracer.made(layer, layer.filters)
    per_group, made = size // layer.groups, layer.filters // layer.groups
    factor = _factor(math.prod(layer.kernel_size), positions(tuple(spec.shape), axis))
    if layer.groups == 1 or per_group > layer.groups:
        rows = None if ids is None else _same_in_each(tracer, ids, layer.groups)
        _same_in_each(tracer, out, layer.groups)
        tracer.bind(layer, "kernel", -2, rows, reads=True)
        _work(tracer, layer, factor, per_group if rows is None else rows, out)
    else:
        whole = out.reshape(layer.groups, made)
        if ids is None:
            tracer.channels.freeze(out, f"'{tracer.path(layer)}' reads {flow.reason} in groups")
        else:
            whole = np.concatenate([ids.reshape(layer.groups, per_group), whole], axis=1)
        for row in whole:
            tracer.channels.tie_all(row)
        tracer.size(layer, "groups", out[::made])
        _work(tracer, layer, factor, per_group, out)
    tracer.bind(layer, "kernel", -1, out)
    tracer.bind(layer, "bias", 0, out)
    tracer.size(layer, "filters", out)
    return _activated(tracer, layer, Flow(spec, axis, out))


def depthwise_conv(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Depthwise convolution: each channel makes `depth_multiplier` of its own."""
    spec = layer.compute_output_spec(flow.spec)
    axis = channel_axis(layer, flow)
    ids = tracer.along(layer, flow, axis)
    factor = _factor(
        math.prod(layer.kernel_size) * layer.depth_multiplier, positions(tuple(spec.shape), axis)
    )
    _work(tracer, layer, factor, 1, int(flow.spec.shape[axis]) if ids is None else ids)
    tracer.bind(layer, "kernel", -2, ids)
    out = None if ids is None else np.repeat(ids, layer.depth_multiplier)
    tracer.bind(layer, "bias", 0, out)
    result = fixed(spec, flow.reason or "a fixed tensor") if out is None else Flow(spec, axis, out)
    return _activated(tracer, layer, result)


def separable_conv(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Depthwise convolution, then one of size 1."""
    spec = layer.compute_output_spec(flow.spec)
    axis = channel_axis(layer, flow)
    ids = tracer.along(layer, flow, axis)
    size, many = int(flow.spec.shape[axis]), layer.depth_multiplier
    out = tracer.made(layer, layer.filters)
    tracer.bind(layer, "depthwise_kernel", -2, ids)
    inner = None if ids is None else np.repeat(ids, many)
    tracer.bind(layer, "pointwise_kernel", -2, inner, reads=True)
    tracer.bind(layer, "pointwise_kernel", -1, out)
    tracer.bind(layer, "bias", 0, out)
    tracer.size(layer, "filters", out)
    places = positions(tuple(spec.shape), axis)
    taps = _factor(math.prod(layer.kernel_size) * many, places)
    _work(tracer, layer, taps, 1, size if ids is None else ids)
    _work(tracer, layer, places, size * many if inner is None else inner, out)
    return _activated(tracer, layer, Flow(spec, axis, out))


def conv_transpose(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Transposed convolution; its kernel has outputs before inputs."""
    spec = layer.compute_output_spec(flow.spec)
    axis = channel_axis(layer, flow)
    ids = tracer.along(layer, flow, axis)
    out = tracer.made(layer, layer.filters)
    tracer.bind(layer, "kernel", -1, ids, reads=True)
    tracer.bind(layer, "kernel", -2, out)
    tracer.bind(layer, "bias", 0, out)
    tracer.size(layer, "filters", out)
    factor = _factor(math.prod(layer.kernel_size), positions(flow.shape, axis))
    _work(tracer, layer, factor, int(flow.spec.shape[axis]) if ids is None else ids, out)
    return _activated(tracer, layer, Flow(spec, axis, out))


def dense(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Dense layer, along the last axis."""
    spec = layer.compute_output_spec(flow.spec)
    axis = len(flow.shape) - 1
    ids = tracer.along(layer, flow, axis)
    out = tracer.made(layer, layer.units)
    tracer.bind(layer, "kernel", 0, ids, reads=True)
    tracer.bind(layer, "kernel", 1, out)
    tracer.bind(layer, "bias", 0, out)
    tracer.size(layer, "units", out)
    size = int(flow.spec.shape[axis]) if ids is None else ids
    _work(tracer, layer, positions(tuple(spec.shape), axis), size, out)
    return _activated(tracer, layer, Flow(spec, axis, out))


def batch_normalization(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Batch normalisation: a scale and a shift for each channel."""
    return _per_channel(tracer, layer, flow, ("gamma", "beta", "moving_mean", "moving_variance"))


def group_normalization(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Group normalisation: the statistics of a group stay only if all of it stays or goes."""
    axis = layer.axis % len(flow.shape)
    ids = tracer.along(layer, flow, axis)
    if ids is None:
        _fixed_weights(tracer, layer, ("gamma", "beta"))
        return fixed(flow.spec, flow.reason or "a fixed tensor")
    width = len(ids) // layer.groups
    for row in ids.reshape(layer.groups, width):
        tracer.channels.tie_all(row)
    tracer.size(layer, "groups", ids[::width])
    return _per_channel(tracer, layer, flow, ("gamma", "beta"))


def mixing_normalization(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Layer, RMS or unit normalisation: dropping a channel changes what the others become."""
    reason = f"'{tracer.path(layer)}' ({type(layer).__name__}) takes statistics over channels"
    tracer.freeze(flow, reason)
    return fixed(flow.spec, flow.reason or reason)


def prelu(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """Parametric ReLU: slopes of the input's shape, 1 where shared."""
    if flow.axis is None:
        tracer.bind(layer, "alpha", 0, None)
        return flow
    axis = flow.axis - 1
    if layer.alpha.shape[axis] != 1:
        tracer.bind(layer, "alpha", axis, flow.ids)
    return flow


def layer_scale(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    """ConvNeXt's LayerScale: one factor per channel of the last axis."""
    if flow.axis == len(flow.shape) - 1:
        tracer.size(layer, "projection_dim", flow.ids)
    return _per_channel(tracer, layer, flow, ("gamma",), axis=-1)


def _per_channel(
    tracer: Tracer, layer: Any, flow: Flow, weights: Sequence[str], axis: int | None = None
) -> Flow:
    axis = (layer.axis if axis is None else axis) % len(flow.shape)
    ids = tracer.along(layer, flow, axis)
    for weight in weights:
        tracer.bind(layer, weight, 0, ids)
    return flow if ids is not None else fixed(flow.spec, flow.reason or "a fixed tensor")


def _fixed_weights(tracer: Tracer, layer: Any, weights: Sequence[str]) -> None:
    for weight in weights:
        tracer.bind(layer, weight, 0, None)


def _same_in_each(tracer: Tracer, ids: Ids, groups: int) -> Ids:
    """Tie the channels at the same place of every group; return those of the first."""
    rows = ids.reshape(groups, -1)
    for row in rows[1:]:
        tracer.channels.tie(rows[0], row)
    first: Ids = rows[0]
    return first


def _activated(tracer: Tracer, layer: Any, flow: Flow) -> Flow:
    activation = getattr(layer, "activation", None)
    if is_channelwise(activation):
        return flow
    name = getattr(activation, "__name__", type(activation).__name__)
    reason = f"activation '{name}' of '{tracer.path(layer)}'"
    tracer.freeze(flow, reason)
    return fixed(flow.spec, reason)


def _factor(taps: int, places: int | None) -> int | None:
    return None if places is None else taps * places


def _work(
    tracer: Tracer, layer: Any, factor: int | None, inputs: Ids | int, outputs: Ids | int
) -> None:
    tracer.work.append(Work(tracer.path(layer), factor, inputs, outputs))


LAYER_RULES: dict[type, Rule] = {
    _LAYERS.Conv1D: conv,
    _LAYERS.Conv2D: conv,
    _LAYERS.Conv3D: conv,
    _LAYERS.DepthwiseConv1D: depthwise_conv,
    _LAYERS.DepthwiseConv2D: depthwise_conv,
    _LAYERS.SeparableConv1D: separable_conv,
    _LAYERS.SeparableConv2D: separable_conv,
    _LAYERS.Conv1DTranspose: conv_transpose,
    _LAYERS.Conv2DTranspose: conv_transpose,
    _LAYERS.Conv3DTranspose: conv_transpose,
    _LAYERS.Dense: dense,
    _LAYERS.BatchNormalization: batch_normalization,
    _LAYERS.GroupNormalization: group_normalization,
    _LAYERS.LayerNormalization: mixing_normalization,
    _LAYERS.RMSNormalization: mixing_normalization,
    _LAYERS.UnitNormalization: mixing_normalization,
    _LAYERS.PReLU: prelu,
}
