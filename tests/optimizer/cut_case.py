"""What the tests of cutting share: small operators, and the check of every cut of a graph."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from optimizer.cut.cut import cut_model, legal_cuts
from optimizer.cut.graph import read_graph
from optimizer.cut.graph_probe import random_windows
from optimizer.verify import MIN_WINDOWS, TOLERANCE, before_softmax, onnx_reference, verify

Model = Callable[..., bytes]
node = helper.make_node
CONV = {"kernel_shape": [3], "pads": [1, 1]}


def crossings(content: bytes) -> list[list[str]]:
    """Cut at every legal cut, alone and all together, verify, and return what crosses where."""
    graph = read_graph(content)
    cuts = legal_cuts(graph)
    windows = random_windows(graph.inputs, MIN_WINDOWS, np.random.default_rng(3))
    for chosen in (cuts, *((cut,) for cut in cuts)):
        model = cut_model(graph, chosen)
        error = verify(model, onnx_reference(graph), windows, before_softmax(graph))
        assert error <= TOLERANCE
    return [[s.name for s in cut.tensors] for cut in cuts]


def conv(source: str, out: str, weight: str = "w") -> onnx.NodeProto:
    """Return a 1-D convolution that keeps 2 channels."""
    return node("Conv", [source, weight], [out], **CONV)


W = {"w": np.random.default_rng(0).standard_normal((2, 2, 3))}
X = {"x": ("N", 2, 8)}
