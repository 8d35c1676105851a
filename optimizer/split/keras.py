"""Reading a .keras file for `optimizer split`: its ONNX form, and Keras itself to compare with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headtail.tensor import Array
from optimizer.cut.graph import Graph
from optimizer.keras_file import read_keras_file
from optimizer.keras_onnx import before_softmax, export_keras
from optimizer.verify import Reference, Tensors


def read_keras(path: Path) -> tuple[bytes, Callable[[Graph], Reference]]:
    """Load a saved model; return it as ONNX and what runs the original for the graph read from it.

    Raises:
        ConfigError: If it is no Keras model.
        ExportError: If tf2onnx cannot convert it.
    """
    model = read_keras_file(path)
    before = before_softmax(model)
    flat = keras.Model(list(model.inputs), list(before.outputs))
    names = [t.name for t in model.inputs]
    return export_keras(model), lambda graph: _reference(flat, names, graph)


def _reference(model: Any, names: list[str], graph: Graph) -> Reference:
    order = [s.name for s in graph.inputs] if len(names) == 1 else names
    outputs = [s.name for s in graph.outputs]

    def run(feed: Mapping[str, Array]) -> Tensors:
        results = model.predict_on_batch([feed[n] for n in order])
        values = results if isinstance(results, list) else [results]
        return {n: np.asarray(v) for n, v in zip(outputs, values, strict=True)}

    return run
