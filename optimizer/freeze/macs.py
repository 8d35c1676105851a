"""Multiply-accumulates of one call of a Keras layer, forward and backward, for one window.

`optimizer.cut.count` counts those of ONNX nodes, which no longer know their Keras layer and have no
backward pass; the forward counts of both agree.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

K = keras.layers
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerMacs:
    """What one call of a layer multiplies and adds up for one window."""

    forward: int
    weight: int
    """For the gradient of its weights: each forward multiplication by a weight has one there."""
    within: int = 0
    """For passing the gradient on inside the layer, needed where the layer is trained or passed."""
    input: int = 0
    """For the gradient of its input beyond `within`, needed where an earlier layer is trained."""
    is_exact: bool = True
    """False where the kind of the layer is not known and every weight counts once per position."""

    def __add__(self, other: "LayerMacs") -> "LayerMacs":
        """Return the counts of two calls together."""
        return LayerMacs(
            self.forward + other.forward,
            self.weight + other.weight,
            self.within + other.within,
            self.input + other.input,
            self.is_exact and other.is_exact,
        )

    def __mul__(self, times: int) -> "LayerMacs":
        """Return the counts of several equal calls."""
        return LayerMacs(
            self.forward * times,
            self.weight * times,
            self.within * times,
            self.input * times,
            self.is_exact,
        )


def layer_macs(layer: Any, taken: Shape, made: Shape) -> LayerMacs:
    """Return the multiply-accumulates of one call.

    With y = x w, the gradients are dL/dw = x^T dL/dy and dL/dx = dL/dy w^T: as many products each
    as forward. Positions that padding leaves without data count, as they do in other tools. Sums
    of biases, activation functions and pooling are left out; a normalisation counts one product
    for each value in all three; a table lookup (Embedding) has none forward and adds one row per
    position to the gradient of its weights.

    Args:
        layer: Built.
        taken: Shape of its first input without the batch axis.
        made: Shape of its output without the batch axis.
    """
    for kinds, count in _COUNTS:
        if isinstance(layer, kinds):
            return count(layer, taken, made)
    positions = math.prod(made[:-1])
    estimate = sum(math.prod(weight.shape) for weight in layer.weights) * positions
    return LayerMacs(estimate, estimate, 0, estimate, is_exact=False)


def _convolution(layer: Any, _taken: Shape, made: Shape) -> LayerMacs:
    return _linear(math.prod(made) * math.prod(layer.kernel.shape[:-1]))


def _transposed(layer: Any, taken: Shape, _made: Shape) -> LayerMacs:
    return _linear(math.prod(taken) * math.prod(layer.kernel.shape[:-1]))


def _depthwise(layer: Any, _taken: Shape, made: Shape) -> LayerMacs:
    return _linear(math.prod(made) * math.prod(layer.kernel.shape[:-2]))


def _dense(layer: Any, _taken: Shape, made: Shape) -> LayerMacs:
    return _linear(math.prod(made) * layer.kernel.shape[0])


def _einsum(layer: Any, _taken: Shape, made: Shape) -> LayerMacs:
    terms, result = layer.equation.replace(".", "").split("->")
    sizes = zip(terms.split(",")[1], layer.kernel.shape, strict=True)
    summed = math.prod(size for letter, size in sizes if letter not in result)
    return _linear(math.prod(made) * summed)


def _normalisation(_layer: Any, _taken: Shape, made: Shape) -> LayerMacs:
    return _linear(math.prod(made))


def _embedding(_layer: Any, _taken: Shape, made: Shape) -> LayerMacs:
    return LayerMacs(0, math.prod(made))


def _bidirectional(layer: Any, taken: Shape, made: Shape) -> LayerMacs:
    one, other = layer.forward_layer, layer.backward_layer
    return layer_macs(one, taken, made) + layer_macs(other, taken, made)


def _distributed(layer: Any, taken: Shape, made: Shape) -> LayerMacs:
    return layer_macs(layer.layer, taken[1:], made[1:]) * taken[0]


def _linear(macs: int) -> LayerMacs:
    return LayerMacs(macs, macs, 0, macs)


def _separable(layer: Any, _taken: Shape, made: Shape) -> LayerMacs:
    """Two convolutions: the second passes the gradient on to the weights of the first."""
    values = math.prod(made)
    pointwise = values * layer.pointwise_kernel.shape[-2]
    positions = values // layer.pointwise_kernel.shape[-1]
    depthwise = positions * math.prod(layer.depthwise_kernel.shape)
    both = depthwise + pointwise
    return LayerMacs(both, both, pointwise, depthwise)


def _recurrent(layer: Any, taken: Shape, _made: Shape) -> LayerMacs:
    """The gradient goes back through the recurrent kernel from step to step in any case."""
    direct = taken[0] * math.prod(layer.cell.kernel.shape)
    recurrent = taken[0] * math.prod(layer.cell.recurrent_kernel.shape)
    return LayerMacs(direct + recurrent, direct + recurrent, recurrent, direct)


def _attention(layer: Any, taken: Shape, _made: Shape) -> LayerMacs:
    """Self-attention over all axes but the last: queries, keys and values come from one input.

    Besides projections there are two products without weights.
    Each of the two, queries by keys and weights by values, passes a gradient to both of its
    factors; the output's projection passes it on to them.
    """
    length = math.prod(taken[:-1])
    parts = [layer.query_dense, layer.key_dense, layer.value_dense]
    inputs = length * sum(math.prod(part.kernel.shape) for part in parts)
    output = length * math.prod(layer.output_dense.kernel.shape)
    products = length * length * layer.num_heads * (layer.key_dim + layer.value_dim)
    forward = inputs + output + products
    return LayerMacs(forward, inputs + output, output + 2 * products, inputs)


# Of kinds that are subclasses of others the subclass comes first.
_COUNTS: tuple[tuple[tuple[type, ...], Callable[[Any, Shape, Shape], LayerMacs]], ...] = (
    ((K.Conv1DTranspose, K.Conv2DTranspose, K.Conv3DTranspose), _transposed),
    ((K.SeparableConv1D, K.SeparableConv2D), _separable),
    ((K.DepthwiseConv1D, K.DepthwiseConv2D), _depthwise),
    ((K.Conv1D, K.Conv2D, K.Conv3D), _convolution),
    ((K.Dense,), _dense),
    ((K.EinsumDense,), _einsum),
    (
        (
            K.BatchNormalization,
            K.GroupNormalization,
            K.LayerNormalization,
            K.RMSNormalization,
        ),
        _normalisation,
    ),
    ((K.Embedding,), _embedding),
    ((K.LSTM, K.GRU, K.SimpleRNN), _recurrent),
    ((K.Bidirectional,), _bidirectional),
    ((K.TimeDistributed,), _distributed),
    ((K.MultiHeadAttention,), _attention),
)
