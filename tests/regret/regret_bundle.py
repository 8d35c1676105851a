"""The network of the regret grid: a small convolutional net in five stages, cut after each.

Its weights are drawn, not trained: what it answers does not matter here, what it costs does. What
crosses shrinks from 48 KB to 1 KB in float32, and the device of `slow-board.toml` takes a quarter
of a second for the whole.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from headtail.bundle.keys import write_key_pair
from headtail.wire import Encoding
from optimizer.cut.cut import legal_cuts
from optimizer.progress import Terminal
from optimizer.split.model import SplitRequest, read_source, split_model
from regret_device import DEVICE, LINK

SIDE, CHANNELS, CLASSES = 64, 3, 10
STAGES = ((104, 4), (480, 8), (1152, 16), (3584, 16), (3072, 64))
"""Channels inside and at the end of each stage; each halves the side."""
ENCODINGS = (Encoding.FLOAT16, Encoding.INT8)
SAMPLES = 64


def images(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return smooth coloured noise in the place of photographs, shape (count, 3, 64, 64)."""
    coarse = rng.standard_normal((count, CHANNELS, SIDE // 8, SIDE // 8))
    fine = rng.standard_normal((count, CHANNELS, SIDE, SIDE))
    return (coarse.repeat(8, axis=2).repeat(8, axis=3) + 0.1 * fine).astype(np.float32)


def build_network(rng: np.random.Generator) -> onnx.ModelProto:
    """Return the network, x (N, 3, 64, 64) to y (N, 10), He-initialised."""
    nodes, weights, source, width = [], [], "x", CHANNELS

    def convolve(name: str, source: str, widths: tuple[int, int], stride: int) -> str:
        taken, made = widths
        scale = np.sqrt(2.0 / (9 * taken))
        kernel = (scale * rng.standard_normal((made, taken, 3, 3))).astype(np.float32)
        bias = (0.1 * rng.standard_normal(made)).astype(np.float32)
        weights.extend(
            (
                numpy_helper.from_array(kernel, name + "_w"),
                numpy_helper.from_array(bias, name + "_b"),
            )
        )
        nodes.append(
            helper.make_node(
                "Conv",
                [source, name + "_w", name + "_b"],
                [name],
                strides=[stride, stride],
                pads=[1, 1, 1, 1],
            )
        )
        nodes.append(helper.make_node("Relu", [name], [name + "_r"]))
        return name + "_r"

    for i, (inside, made) in enumerate(STAGES):
        source = convolve(f"stage{i}_in", source, (width, inside), 2)
        source = convolve(f"stage{i}_out", source, (inside, made), 1)
        width = made
    dense = (rng.standard_normal((width, CLASSES)) / np.sqrt(width)).astype(np.float32)
    weights.append(numpy_helper.from_array(dense, "dense"))
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "dense"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", CHANNELS, SIDE, SIDE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])
    graph = helper.make_graph(nodes, "stages", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_regret_bundle(folder: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    """Write the signed bundle and return it and the folder of the key to trust.

    Args:
        folder: Takes the model, the windows, the keys and, in `bundles`, the bundle.
        rng: Draws weights and windows.
    """
    model, samples, key = folder / "stages.onnx", folder / "windows.npz", folder / "grid.key"
    onnx.save(build_network(rng), model)
    np.savez(samples, x=images(SAMPLES, rng))
    write_key_pair(key, folder / "trust" / "grid.pub")
    bundle = folder / "bundles" / "stages-1.bundle"
    bundle.parent.mkdir()
    ends = [f"stage{i}_out_r" for i in range(len(STAGES) - 1)]
    cuts = [c.index for c in legal_cuts(read_source(model).graph) if c.tensors[0].name in ends]
    request = SplitRequest(
        model,
        bundle,
        points=tuple(cuts),
        devices=(DEVICE,),
        links=(LINK,),
        objective="latency",
        encodings=ENCODINGS,
        samples=samples,
        key=key,
    )
    split_model(request, Terminal(Console(quiet=True)))
    return bundle, folder / "trust"
