"""First weights of a network, and weights between the forms of Keras and of the compiled code.

Weights are lists as Keras' `get_weights` gives them: kernel and bias of each layer in turn, kernels
(taps, in, out), of a transposed convolution (taps, out, in), of the dense layer (values, classes).
"""

from collections.abc import Sequence

import numpy as np

from headtail.errors import ShapeMismatch
from headtail.tensor import Array
from optimizer.fast.layout import Layout, lay_out
from optimizer.fast.run import run_layers
from optimizer.network import Genome, Layer

MIN_DEVIATION = 1e-6  # below it a channel is constant on the calibration data
Weights = list[Array]


def glorot(genome: Genome, seed: int) -> Weights:
    """Return Glorot uniform kernels and zero biases, the same for the same seed.

    Source: Glorot & Bengio 2010, eq. 16, with the fans as Keras counts them.
    """
    rng = np.random.default_rng(seed)
    weights: Weights = []
    for layer in genome.layers():
        shape = kernel_shape(layer)
        field = shape[0] if len(shape) == 3 else 1
        limit = np.sqrt(6 / (field * (shape[-1] + shape[-2])))
        weights.append(rng.uniform(-limit, limit, shape).astype(np.float32))
        weights.append(np.zeros(_biases(layer), np.float32))
    return weights


def initialise(genome: Genome, weights: Sequence[Array], x: Array) -> Weights:
    """Scale every convolution so that its channels leave with unit variance and mean +0.5.

    With few channels, inputs in [0, 1] and zero biases, most random networks of this family have
    dead ReLUs and never learn; this takes the trap away. Source: Mishkin & Matas,
    arXiv:1511.06422 (layer by layer on data), with the mean at +0.5 standard deviations.

    Args:
        genome: The network.
        weights: Its weights; left as they are.
        x: Calibration windows from the training split, shape (N, length, channels), float32.

    Raises:
        ShapeMismatch: If `x` is not what the network takes.
    """
    expected = (-1, genome.lengths[0], genome.channels[0])
    if x.ndim != len(expected) or x.shape[1:] != expected[1:] or not len(x):
        raise ShapeMismatch("calibration windows", expected, x.shape)
    layout = lay_out(genome)
    weights = list(weights)
    for i, layer in enumerate(layout.layers[:-1]):
        values = run_layers(layout, pack(layout, weights), x, i + 1, is_rectified=False)
        outputs = values.reshape(-1, layer.out_channels).astype(np.float64)
        mean, deviation = outputs.mean(axis=0), outputs.std(axis=0)
        scale = 1.0 / np.where(deviation > MIN_DEVIATION, deviation, 1.0)
        kernel, bias = weights[2 * i : 2 * i + 2]
        of_channels = scale[:, np.newaxis] if layer.kind == "conv_transpose" else scale
        weights[2 * i] = (kernel * of_channels).astype(np.float32)
        weights[2 * i + 1] = ((bias - mean) * scale + 0.5).astype(np.float32)
    return weights


def kernel_shape(layer: Layer) -> tuple[int, ...]:
    """Return the shape of a layer's kernel as Keras has it."""
    if layer.kind == "dense":
        return layer.in_values, layer.out_values
    if layer.kind == "conv_transpose":
        return layer.kernel, layer.out_channels, layer.in_channels
    return layer.kernel, layer.in_channels, layer.out_channels


def pack(layout: Layout, weights: Sequence[Array]) -> Array:
    """Return the weights as one vector, shape (parameters,), as the compiled code reads them."""
    parts = []
    for layer, kernel, bias in zip(layout.layers, weights[::2], weights[1::2], strict=True):
        is_turned = layer.kind == "conv_transpose"
        rows = kernel.reshape(-1, layer.in_channels).T if is_turned else kernel
        parts += [np.ravel(rows), bias]
    return np.concatenate(parts).astype(np.float32)


def unpack(layout: Layout, parameters: Array) -> Weights:
    """Return what `pack` was given."""
    weights: Weights = []
    place = 0
    for layer in layout.layers:
        shape = kernel_shape(layer)
        size = int(np.prod(shape))
        kernel = parameters[place : place + size]
        if layer.kind == "conv_transpose":
            kernel = kernel.reshape(layer.in_channels, -1).T
        weights.append(kernel.reshape(shape).astype(np.float32))
        place += size
        weights.append(parameters[place : place + _biases(layer)].astype(np.float32))
        place += _biases(layer)
    return weights


def _biases(layer: Layer) -> int:
    return layer.out_values if layer.kind == "dense" else layer.out_channels
