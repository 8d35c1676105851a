"""Where a model is not cut: inside what belongs together, and where more would cross."""

import numpy as np
from cut_case import Model, W, X, conv, crossings, node
from onnx import TensorProto

from optimizer.cut.cut import cut_model
from optimizer.cut.graph import read_graph


def test_chain_is_cut_after_activations_and_pools(small_cnn: bytes) -> None:
    """Never between a convolution and its normalisation or activation."""
    assert crossings(small_cnn) == [["r1"], ["p1"], ["r2"], ["g"]]


def test_nothing_but_elementwise_operators_has_no_cut(onnx_model: Model) -> None:
    """There is nothing to gain between operators that all rewrite the input."""
    nodes = [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["b"]), node("Exp", ["b"], ["y"])]
    content = onnx_model(nodes, X)
    assert crossings(content) == []
    assert len(cut_model(read_graph(content), ()).segments) == 1


def test_sizes_that_depend_on_values_do_not_cross(onnx_model: Model) -> None:
    """Where NonZero's output is alive there is no cut; before it there is."""
    nodes = [
        conv("x", "a"),
        node("NonZero", ["a"], ["n"]),
        node("ReduceMax", ["n"], ["m"], axes=[1], keepdims=0),
        node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        node("ReduceSum", ["f"], ["y"]),
    ]
    content = onnx_model(nodes, {"x": (1, 2, 8)}, weights=W)
    assert crossings(content) == [["a"], ["f"]]


def test_crop_and_bias_stay_with_their_transposed_convolution(onnx_model: Model) -> None:
    """What exporters put between a transposed convolution and its activation is no place to cut.

    Nor is what they put in front of the next convolution: the reshape runs after the cut.
    """
    nodes = [
        node("ConvTranspose", ["x", "w"], ["a"], strides=[1]),
        node("Slice", ["a", "zero", "ten", "axis"], ["b"]),
        node("Unsqueeze", ["b", "axis"], ["c"]),
        node("Add", ["c", "bias"], ["d"]),
        node("Relu", ["d"], ["e"]),
        node("Squeeze", ["e", "axis"], ["f"]),
        conv("f", "y"),
    ]
    weights = W | {
        "zero": np.array([0]), "ten": np.array([10]), "axis": np.array([2]), "bias": np.ones(10)
    }  # fmt: skip
    assert crossings(onnx_model(nodes, X, weights=weights)) == [["e"]]


def test_padding_runs_after_the_cut(onnx_model: Model) -> None:
    """Zeros around a map are not worth sending."""
    nodes = [
        conv("x", "a"),
        node("Pad", ["a", "pads"], ["b"]),
        conv("b", "y"),
    ]
    weights = W | {"pads": np.array([0, 0, 2, 0, 0, 2])}
    assert crossings(onnx_model(nodes, X, weights=weights)) == [["a"]]


def test_swish_stays_with_its_convolution(onnx_model: Model) -> None:
    """Conv, BN-like scale, sigmoid and product are one unit, the squeeze after it is another."""
    nodes = [
        conv("x", "a"),
        node("Mul", ["a", "k"], ["b"]),
        node("Sigmoid", ["b"], ["s"]),
        node("Mul", ["b", "s"], ["m"]),
        node("GlobalAveragePool", ["m"], ["g"]),
        node("Mul", ["m", "g"], ["e"]),
        conv("e", "y"),
    ]
    content = onnx_model(nodes, X, weights=W | {"k": np.array([1.5])})
    assert crossings(content) == [["m"], ["e"]]


def test_pre_activation_does_not_add_a_second_tensor(onnx_model: Model) -> None:
    """Where a sum is needed again later, its activation runs after the cut, not before it."""
    nodes = [
        conv("x", "a"),
        conv("a", "b"),
        node("Add", ["a", "b"], ["s"]),
        node("Relu", ["s"], ["r"]),
        conv("r", "c"),
        node("Add", ["s", "c"], ["t"]),
        node("GlobalAveragePool", ["t"], ["y"]),
    ]
    assert crossings(onnx_model(nodes, X, weights=W)) == [["a"], ["s"], ["t"]]


def test_quantised_tensor_crosses_before_it_is_dequantised(onnx_model: Model) -> None:
    """Between Quantize and Dequantize a quarter of the bytes crosses."""
    nodes = [
        conv("x", "a"),
        node("QuantizeLinear", ["a", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        conv("d", "y"),
    ]
    weights = W | {"scale": np.array(0.1), "zero": np.array(0, np.int8)}
    assert crossings(onnx_model(nodes, X, weights=weights)) == [["q"]]
