"""The layers of a profile kit: a sample of the search space, each as two small ONNX graphs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from headtail.bundle.archive import describe_member
from headtail.errors import ConfigError
from headtail.layer_shape import KINDS, Kind, LayerShape, activation_bytes
from headtail.profile_kit import (
    MAX_LAYERS,
    KitLayer,
    write_kit,
)
from headtail.tensor import Array

# The paper's lengths with the input's, and its channels with those of the extended space.
LENGTHS = (2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4)
CHANNELS = (1, 2, 3, 4, 8, 16)
KERNELS = (1, 1, 1, 3)  # multiples of the stride: mostly the paper's own
CLASSES = (2, 3, 4, 5, 8, 16)
LAYERS, COPIES, SEED = 96, 16, 0
HELD_OUT = 4  # every how-manieth layer of a kind is held out
MAX_PARAMETERS = 20_000  # of one copy: what fits small devices
MIN_LAYERS = 32  # eight of each kind, two of them held out
OPSET, IR_VERSION = 17, 8  # what any onnxruntime of the last years runs


def write_sample(path: Path, layers: int = LAYERS, seed: int = SEED) -> str:
    """Write a kit of `layers` layers, the kinds in equal parts, and return its digest.

    Raises:
        ConfigError: If `layers` is out of range or `path` cannot be written.
    """
    if not MIN_LAYERS <= layers <= MAX_LAYERS:
        raise ConfigError("--layers", f"expected {MIN_LAYERS} to {MAX_LAYERS}, received {layers}")
    rng = np.random.default_rng(seed)
    drawn: dict[LayerShape, None] = {}
    for kind in KINDS:
        wanted = len(drawn) + layers // len(KINDS)
        if kind == KINDS[-1]:
            wanted = layers
        while len(drawn) < wanted:
            drawn.setdefault(draw_shape(kind, rng))
    contents: dict[str, bytes] = {}
    made = [
        _build(shape, index, contents, rng) for index, shape in enumerate(_by_turns(list(drawn)))
    ]
    description = (
        f"{layers} layers, lengths {min(LENGTHS)} to {max(LENGTHS)}, channels {min(CHANNELS)} to"
        f" {max(CHANNELS)}, {COPIES} copies, seed {seed}"
    )
    return write_kit(path, description, made, contents)


def draw_shape(kind: Kind, rng: np.random.Generator) -> LayerShape:
    """Return a random layer of `kind` with at most `MAX_PARAMETERS` parameters."""
    while True:
        ends = rng.choice(LENGTHS, 2)
        short, long = int(ends.min()), int(ends.max())
        channels = [int(n) for n in rng.choice(CHANNELS, 2)]
        if kind == "dense":
            shape = LayerShape(kind, long, channels[0], int(rng.choice(CLASSES)), 1, 1)
        elif kind == "conv_transpose":
            if short == long:
                continue
            kernel = long // short * int(rng.choice(KERNELS))
            shape = LayerShape(kind, short, channels[0], long, channels[1], kernel)
        else:
            kernel = max(long // short, 1) * int(rng.choice(KERNELS))
            if kind == "depthwise":
                # A group of one channel is a plain convolution, also to whoever counts.
                channels = [max(channels[0], 2)] * 2
            shape = LayerShape(kind, long, channels[0], short, channels[1], kernel)
        if shape.operations.parameters <= MAX_PARAMETERS:
            return shape


def build_graph(shape: LayerShape, copies: int, rng: np.random.Generator) -> bytes:
    """Return an ONNX model with `copies` of the layer side by side on one input `x`.

    Each copy has weights of its own, since equal nodes would be merged; they take few different
    values, which compress well.
    """
    nodes, weights, outputs = [], [], []
    for i in range(copies):
        weight = rng.integers(-4, 5, _weight_shape(shape)).astype(np.float32) / 8
        bias = rng.integers(-4, 5, shape.output_shape[1]).astype(np.float32) / 8
        weights += [_tensor(weight, f"w{i}"), _tensor(bias, f"b{i}")]
        nodes += _nodes(shape, i)
        outputs.append(_value(f"y{i}", shape.output_shape))
    graph = helper.make_graph(nodes, "layer", [_value("x", shape.input_shape)], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _build(
    shape: LayerShape, index: int, contents: dict[str, bytes], rng: np.random.Generator
) -> KitLayer:
    """Make the files of one layer; adds them to `contents`."""
    name = f"{shape.kind.replace('_', '-')}-{index:03d}"
    members = []
    for copies in (1, COPIES):
        path = f"layers/{name}-x{copies}.onnx"
        contents[path] = build_graph(shape, copies, rng)
        members.append(describe_member(path, contents[path]))
    turn = index // len(KINDS)
    return KitLayer(
        name=name,
        shape=shape,
        is_held_out=turn % HELD_OUT == HELD_OUT - 1,
        copies=COPIES,
        operations=shape.operations,
        activation_bytes=activation_bytes(shape),
        single=members[0],
        multiple=members[1],
    )


def _by_turns(shapes: list[LayerShape]) -> Iterator[LayerShape]:
    """Yield the kinds one after another; those that have more than the others come last."""
    groups = [[s for s in shapes if s.kind == kind] for kind in KINDS]
    for i in range(max(map(len, groups))):
        yield from (group[i] for group in groups if i < len(group))


def _nodes(shape: LayerShape, i: int) -> list[onnx.NodeProto]:
    if shape.kind == "dense":
        return [helper.make_node("Gemm", ["x", f"w{i}", f"b{i}"], [f"y{i}"])]
    # Keras' padding="same" where the kernel is longer than the stride; none where it is not.
    padding = max(shape.kernel - shape.stride, 0)
    convolution = helper.make_node(
        "ConvTranspose" if shape.kind == "conv_transpose" else "Conv",
        ["x", f"w{i}", f"b{i}"],
        [f"c{i}"],
        kernel_shape=[shape.kernel],
        strides=[shape.stride],
        pads=[padding // 2, padding - padding // 2],
        group=shape.in_channels if shape.kind == "depthwise" else 1,
    )
    return [convolution, helper.make_node("Relu", [f"c{i}"], [f"y{i}"])]


def _weight_shape(shape: LayerShape) -> tuple[int, ...]:
    if shape.kind == "dense":
        return (shape.in_values, shape.out_values)
    if shape.kind == "depthwise":
        return (shape.out_channels, 1, shape.kernel)
    if shape.kind == "conv_transpose":
        return (shape.in_channels, shape.out_channels, shape.kernel)
    return (shape.out_channels, shape.in_channels, shape.kernel)


def _tensor(array: Array, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
