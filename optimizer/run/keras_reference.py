"""The Keras model of a run as what its segments are held against."""

from collections.abc import Mapping

import keras

from headtail.tensor import Array
from optimizer.cut.graph import Graph
from optimizer.keras_onnx import before_softmax
from optimizer.training.keras_engine import predict
from optimizer.verify import Reference


def keras_reference(model: keras.Model, graph: Graph) -> Reference:
    """Return the model's outputs before its softmax, under the names of its exported graph."""
    logits = before_softmax(model)
    x, y = graph.inputs[0].name, graph.outputs[0].name

    def run(feed: Mapping[str, Array]) -> dict[str, Array]:
        return {y: predict(logits, feed[x])}

    return run
