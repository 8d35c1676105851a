"""Counting operations and memory, node by node and against the published networks."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import helper

from headtail.operations import Operations
from optimizer.cut.count import count_operations, peak_bytes
from optimizer.cut.cut import cut_model, legal_cuts
from optimizer.cut.graph import read_graph

Model = Callable[..., bytes]
node = helper.make_node


def counted(content: bytes) -> Operations:
    """Return the counts of a whole model."""
    graph = read_graph(content)
    return count_operations(graph, graph.nodes)


@pytest.mark.parametrize(
    ("shape", "weight", "macs"),
    [((3, 10), (4, 3, 5), 6), ((3, 6, 7), (4, 3, 3, 3), 20), ((2, 4, 4, 4), (5, 2, 2, 2, 2), 27)],
)
def test_convolutions(
    onnx_model: Model, shape: tuple[int, ...], weight: tuple[int, ...], macs: int
) -> None:
    """1-D, 2-D, 3-D: output positions times all weights."""
    size = int(np.prod(weight))
    content = onnx_model(
        [node("Conv", ["x", "w", "b"], ["y"])],
        {"x": ("N", *shape)},
        weights={"w": np.zeros(weight), "b": np.zeros(weight[0])},
    )
    expected = Operations(
        conv_macs=macs * size, conv_macz=macs * size, conv_parameters=size + weight[0]
    )
    assert counted(content) == expected


def test_depthwise_is_counted_apart(onnx_model: Model) -> None:
    content = onnx_model(
        [node("Conv", ["x", "w"], ["y"], group=6)],
        {"x": ("N", 6, 5)},
        weights={"w": np.ones((6, 1, 3))},
    )
    assert counted(content) == Operations(depthwise_macs=6 * 3 * 3, depthwise_parameters=18)


def test_grouped_convolution_sees_its_group_only(onnx_model: Model) -> None:
    content = onnx_model(
        [node("Conv", ["x", "w"], ["y"], group=2)],
        {"x": ("N", 6, 5)},
        weights={"w": np.ones((4, 3, 3))},
    )
    assert counted(content) == Operations(conv_macs=108, conv_macz=108, conv_parameters=36)


def test_transposed_convolution_has_both_counts(onnx_model: Model) -> None:
    """True MACs follow the input, MACz the zero-stuffed output: l_out x k x c_in x c_out."""
    content = onnx_model(
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[4])],
        {"x": ("N", 3, 8)},
        weights={"w": np.ones((3, 2, 4))},
    )
    assert counted(content) == Operations(
        conv_macs=8 * 4 * 3 * 2, conv_macz=32 * 4 * 3 * 2, conv_parameters=24
    )


def test_added_weight_is_the_bias_of_what_came_before(onnx_model: Model) -> None:
    content = onnx_model(
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("Add", ["a", "b"], ["c"]),
            node("Relu", ["c"], ["d"]),
            node("Add", ["d", "e"], ["y"]),
        ],
        {"x": ("N", 4)},
        weights={"w": np.ones((4, 3)), "b": np.ones(3), "e": np.array([2.0, 3, 4])},
    )
    assert counted(content) == Operations(dense_macs=12, dense_parameters=15, other_parameters=3)


def test_product_of_two_activations_has_no_parameters(onnx_model: Model) -> None:
    """Attention multiplies activations: MACs, but no weights."""
    content = onnx_model(
        [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["y"])],
        {"x": ("N", 5, 3)},
    )
    assert counted(content) == Operations(dense_macs=5 * 5 * 3)


def test_gemm_transposed_einsum_and_lstm(onnx_model: Model) -> None:
    gemm = onnx_model(
        [node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        {"x": ("N", 4)},
        weights={"w": np.ones((3, 4)), "b": np.ones(3)},
    )
    einsum = onnx_model(
        [node("Einsum", ["x", "w"], ["y"], equation="nab,bc->nac")],
        {"x": ("N", 2, 3)},
        weights={"w": np.ones((3, 5))},
    )
    lstm = onnx_model(
        [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2)],
        {"x": (7, 1, 3)},
        weights={"w": np.ones((1, 8, 3)), "r": np.ones((1, 8, 2))},
    )
    assert counted(gemm) == Operations(dense_macs=12, dense_parameters=15)
    assert counted(einsum) == Operations(dense_macs=30, dense_parameters=15)
    assert counted(lstm) == Operations(dense_macs=7 * 40, dense_parameters=40)


def test_shapes_and_axes_are_no_parameters(onnx_model: Model) -> None:
    content = onnx_model(
        [
            node("Reshape", ["x", "shape"], ["a"]),
            node("Clip", ["a", "low", "high"], ["b"]),
            node("Unsqueeze", ["b", "axis"], ["y"]),
        ],
        {"x": ("N", 4)},
        weights={
            "shape": np.array([-1, 2, 2]),
            "low": np.array(0.0),
            "high": np.array(6.0),
            "axis": np.array([1]),
        },
    )
    assert counted(content) == Operations()


def test_shared_weight_counts_once(onnx_model: Model) -> None:
    content = onnx_model(
        [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])],
        {"x": ("N", 4)},
        weights={"w": np.eye(4)},
    )
    assert counted(content) == Operations(dense_macs=32, dense_parameters=16)


def test_memory_of_a_chain_is_two_successive_maps(small_cnn: bytes) -> None:
    """Input 3x8x8 and c1 4x8x8 at once; the activation works in place."""
    graph = read_graph(small_cnn)
    assert peak_bytes(graph, graph.nodes, ()) == 4 * (3 * 64 + 4 * 64)


def test_tensor_that_skips_stays_in_memory(onnx_model: Model) -> None:
    """While b becomes c, a waits for the sum."""
    conv = {"kernel_shape": [1]}
    content = onnx_model(
        [
            node("Conv", ["x", "w"], ["a"], **conv),
            node("Conv", ["a", "w"], ["b"], **conv),
            node("Conv", ["b", "w"], ["c"], **conv),
            node("Add", ["a", "c"], ["y"]),
        ],
        {"x": ("N", 2, 8)},
        weights={"w": np.ones((2, 2, 1))},
    )
    graph = read_graph(content)
    model = cut_model(graph, legal_cuts(graph))
    assert [s.ram_bytes for s in model.segments] == [128, 128, 192]


GOLDEN = {
    # name: lengths, channels, partition of the paper (its input is layer 1), edge parameters, MACz
    "SD-1": ((2048, 128, 8, 64, 2), (1, 1, 4, 2, 1), 3, 85, 2560),
    "SD-2": ((2048, 128, 4, 128, 2), (1, 3, 3, 2, 1), 3, 342, 7296),
    "AC-1": ((2048, 64, 256, 512, 4, 16, 16, 256, 5), (1, 1, 1, 3, 2, 4, 4, 1, 1), 2, 33, 2048),
    "AC-2": ((2048, 32, 8, 128, 256, 1024, 5), (1, 4, 3, 4, 4, 2, 1), 3, 311, 8576),
}


@pytest.mark.tf
@pytest.mark.parametrize("name", GOLDEN)
def test_exported_networks_count_as_the_paper_does(name: str) -> None:
    """Keras, then ONNX, then segments: the parameters, MACz and RAM of the published tables.

    The transposes that the exporter puts around convolutions of channels-last tensors must not
    count for anything.
    """
    from optimizer.keras_onnx import export_keras
    from optimizer.network import Genome
    from optimizer.training.keras_model import build_keras

    lengths, channels, partition, parameters, macz = GOLDEN[name]
    genome = Genome(lengths[:-1], channels[:-1], lengths[-1])
    layers = genome.layers()
    keras_model = build_keras(genome, 1)
    rng = np.random.default_rng(0)  # zero biases would be optimised away by the exporter
    keras_model.set_weights([rng.standard_normal(w.shape) for w in keras_model.get_weights()])
    graph = read_graph(export_keras(keras_model))
    whole = count_operations(graph, graph.nodes)
    total = sum((layer.operations for layer in layers), Operations())
    assert whole == total
    cuts = legal_cuts(graph)
    model = cut_model(graph, cuts)
    heads = [
        sum((s.operations for s in model.segments[:k]), Operations())
        for k in range(1, len(model.segments) + 1)
    ]
    edge = heads[[h.parameters for h in heads].index(parameters)]
    assert (edge.parameters, edge.conv_macz) == (parameters, macz)
    expected = max(4 * (layer.in_values + layer.out_values) for layer in layers[: partition - 1])
    count = next(i for i, h in enumerate(heads) if h.parameters == parameters) + 1
    assert max(s.ram_bytes for s in model.segments[:count]) == expected
