"""Running a model while watching the channels that its layers make."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import keras

from optimizer.prune.trace import functional

# What may stand between a layer and the tensor that is watched for it.
_FOLLOWING = {
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
}


@dataclass(slots=True)
class Observation:
    """What a run of a model gave."""

    outputs: Any
    seen: dict[str, list[Any]] = field(default_factory=dict)
    """By layer: a tensor for each call, behind the normalisation and activation that follow it."""


def observe(model: keras.Model, layers: set[str], x: Any) -> Observation:
    """Run a model in inference and return its output and what the named layers make.

    Args:
        model: Functional or sequential; nested models are entered.
        layers: Paths, as pruning groups name them.
        x: One batch of its input.
    """
    graph = functional(model)
    watch = _Watch(layers)
    result = Observation(watch.run(graph, keras.tree.flatten(x), ""))
    for (path, _), tensor in watch.latest.items():
        result.seen.setdefault(path, []).append(tensor)
    return result


class _Watch:
    def __init__(self, layers: set[str]) -> None:
        self._layers = layers
        self.latest: dict[tuple[str, int], Any] = {}
        self._labels: dict[int, tuple[str, int]] = {}
        self._alive: list[Any] = []  # so that no other tensor comes to have its identity
        self._calls: dict[str, int] = defaultdict(int)

    def run(self, graph: Any, inputs: list[Any], prefix: str) -> Any:
        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            return self._call(operation, args, kwargs, prefix)

        return graph._run_through_graph(inputs, call_fn=call)

    def _call(self, operation: Any, args: Any, kwargs: Any, prefix: str) -> Any:
        path = prefix + operation.name
        graph = functional(operation)
        if graph is not None:
            return self.run(graph, keras.tree.flatten(args), path + "/")
        result = operation(*args, **kwargs)
        label = self._labels.get(id(args[0])) if args else None
        if path in self._layers:
            label = path, self._calls[path]
            self._calls[path] += 1
        elif type(operation) not in _FOLLOWING:
            label = None
        if label is not None:
            self._labels[id(result)] = label
            self.latest[label] = result
            self._alive.append(result)
        return result
