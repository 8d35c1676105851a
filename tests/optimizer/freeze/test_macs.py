"""Multiply-accumulates of layers, by hand and against the counts of the exported model."""

import keras
import pytest
from freeze_case import K

from optimizer.cut.count import count_operations
from optimizer.cut.graph import read_graph
from optimizer.freeze.macs import LayerMacs, layer_macs
from optimizer.freeze.network import read_network

pytestmark = pytest.mark.tf


def linear(macs: int) -> LayerMacs:
    """Return the counts of a layer that is one product."""
    return LayerMacs(macs, macs, 0, macs)


@pytest.mark.parametrize(
    ("layer", "taken", "expected"),
    [
        (K.Conv2D(4, 3, strides=2, padding="same"), (8, 8, 3), linear(4 * 4 * 4 * 27)),
        (K.Conv2D(6, 3, groups=2), (5, 5, 4), linear(3 * 3 * 6 * 9 * 2)),
        (K.Conv1D(2, 5), (9, 3), linear(5 * 2 * 15)),
        (K.Conv2DTranspose(4, 2, strides=2), (3, 3, 5), linear(9 * 5 * 4 * 4)),
        (K.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 4), linear(9 * 8 * 9)),
        (K.Dense(7), (6,), linear(42)),
        (K.Dense(7), (5, 6), linear(210)),
        (K.EinsumDense("abc,cde->abde", (5, 2, 3)), (5, 4), linear(5 * 4 * 6)),
        (K.BatchNormalization(), (5, 4), linear(20)),
        (K.LayerNormalization(), (5, 4), linear(20)),
        # 9 taps at 9 positions of 2 channels, then 2 x 5 products at 9 positions
        (K.SeparableConv2D(5, 3), (5, 5, 2), LayerMacs(252, 252, 90, 162)),
        # 4 gates: input kernel 3 x 8, recurrent kernel 2 x 8, at 6 steps
        (K.LSTM(2), (6, 3), LayerMacs(240, 240, 96, 144)),
        (K.Bidirectional(K.SimpleRNN(2)), (6, 3), LayerMacs(120, 120, 48, 72)),
        (K.TimeDistributed(K.Dense(2)), (6, 3), linear(36)),
        (K.Embedding(10, 4), (6,), LayerMacs(0, 24, 0, 0)),
        # An unknown kind: 2 alphas at each of 3 positions
        (K.PReLU(shared_axes=[1]), (3, 2), LayerMacs(6, 6, 0, 6, is_exact=False)),
    ],
)
def test_a_layer_by_hand(layer, taken: tuple[int, ...], expected: LayerMacs) -> None:
    """Forward, gradient of the weights, inside, gradient of the input."""
    made = layer(keras.Input(taken))
    assert expected == layer_macs(layer, taken, tuple(made.shape[1:]))


def test_attention_by_hand() -> None:
    """2 heads of 4 over 5 places of 8 values: projections 8 x 8 each, two products of 5 x 5 x 8."""
    layer, x = K.MultiHeadAttention(2, 4), keras.Input((5, 8))
    layer(x, x)
    projection, products = 5 * 64, 2 * 25 * 8
    expected = LayerMacs(
        4 * projection + products, 4 * projection, projection + 2 * products, 3 * projection
    )
    assert expected == layer_macs(layer, (5, 8), (5, 8))


def test_forward_counts_are_those_of_the_exported_model() -> None:
    """Which `optimizer.cut.count` takes from ONNX nodes."""
    from optimizer.keras_onnx import export_keras

    x = keras.Input((12, 12, 3))
    h = K.Conv2D(8, 3, strides=2, padding="same")(x)
    h = K.SeparableConv2D(6, 3)(K.DepthwiseConv2D(3, padding="same")(h))
    h = K.Conv2D(6, 3)(K.Conv2DTranspose(4, 2, strides=2)(h))
    model = keras.Model(x, K.Dense(3)(K.Dense(5)(K.GlobalAveragePooling2D()(h))))
    graph = read_graph(export_keras(model))
    expected = count_operations(graph, graph.nodes).macs
    assert 2 * expected == read_network(model).costs.forward_flops()
