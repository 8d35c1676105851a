"""Copies of a model with other widths, layer by layer."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional, functional_like_constructor

from headtail.errors import PruningError
from optimizer.prune.groups import Kept
from optimizer.prune.trace import functional
from optimizer.prune.tracer import LayerChannels

Values = Callable[[LayerChannels | None, str, Any], Any]


class ModelCopy:
    """A copy of a model in which only some channels are left.

    Names and trainable flags are the original's; shared and nested layers stay shared and nested.
    """

    def __init__(self, parts: Mapping[int, LayerChannels], kept: Kept) -> None:
        self._parts, self._kept = parts, kept
        self._pairs: dict[int, tuple[Any, Any]] = {}

    def copy(self, model: keras.Model) -> keras.Model:
        """Return the copy, with its weights drawn anew.

        Raises:
            PruningError: If a layer cannot be made from its configuration.
        """
        result = self._copied(model)
        for old, new in self._pairs.values():  # a model comes before its layers
            if isinstance(old, keras.Layer) and new is not old:
                new.trainable = old.trainable
        return result

    @property
    def layers(self) -> list[tuple[Any, Any]]:
        """Pairs of a layer and its copy, models left out."""
        pairs = self._pairs.values()
        return [(a, b) for a, b in pairs if isinstance(a, keras.Layer) and functional(a) is None]

    def _copied(self, operation: Any) -> Any:
        if id(operation) in self._pairs:
            return self._pairs[id(operation)][1]
        graph = functional(operation)
        if graph is None:
            new = self._copied_layer(operation)
            self._pairs[id(operation)] = operation, new
            return new
        self._pairs[id(operation)] = operation, None  # keeps the place before its layers
        if isinstance(operation, keras.Sequential):
            first = self._inputs(operation, graph)
            layers = [self._copied(layer) for layer in operation.layers]
            new = keras.Sequential([*first, *layers], name=operation.name)
        else:
            inputs = self._inputs(operation, graph)
            outputs = graph._run_through_graph(inputs, operation_fn=self._copied)
            structure = keras.tree.pack_sequence_as(graph._inputs_struct, inputs)
            kind = type(operation) if functional_like_constructor(type(operation)) else Functional
            new = kind(structure, outputs, name=operation.name)
        self._pairs[id(operation)] = operation, new
        return new

    def _inputs(self, model: Any, graph: Any) -> list[Any]:
        record = self._parts.get(id(model))
        result = []
        for i, tensor in enumerate(graph.inputs):
            shape = list(tensor.shape)
            found = record.inputs.get(i) if record else None
            if found is not None:
                axis, ids = found
                shape[axis] = int(self._kept[ids].sum())
            optional = getattr(tensor._keras_history.operation, "optional", False)
            result.append(
                keras.Input(
                    batch_shape=shape, dtype=tensor.dtype, name=tensor.name, optional=optional
                )
            )
        return result

    def _copied_layer(self, operation: Any) -> Any:
        record = self._parts.get(id(operation))
        try:
            config = operation.get_config()
            for (key, place), ids in (record.sizes if record else {}).items():
                count = int(self._kept[ids].sum())
                if place is None:
                    config[key] = count
                else:
                    config[key] = tuple(
                        count if i == place else n for i, n in enumerate(config[key])
                    )
            return type(operation).from_config(config)
        # Keras' get_config raises NotImplementedError for a layer whose arguments it cannot know.
        except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
            if not getattr(operation, "variables", ()) and not (record and record.sizes):
                return operation  # has no state to share
            name = record.path if record else operation.name
            kind = type(operation).__name__
            text = str(error).strip().splitlines()[0][:200]
            raise PruningError(
                f"layer '{name}'", f"{kind} cannot be copied from its configuration: {text}"
            ) from error


def sliced(record: LayerChannels | None, attribute: str, value: Any, kept: Kept) -> Any:
    """Return a weight without the channels that are dropped."""
    for (name, axis), ids in (record.weights if record else {}).items():
        if name == attribute and ids is not None:
            value = np.compress(kept[ids], value, axis=axis)
    return value


def zeroed(record: LayerChannels | None, attribute: str, value: Any, kept: Kept) -> Any:
    """Return a weight with zeros where its layer reads from channels that are dropped."""
    for name, axis in record.reads if record else ():
        ids = record.weights[name, axis] if record else None
        if name == attribute and ids is not None:
            shape = [1] * value.ndim
            shape[axis] = -1
            value = value * kept[ids].reshape(shape).astype(value.dtype)
    return value


def attribute_names(layer: Any, record: LayerChannels | None) -> dict[int, str]:
    """Return under which attribute a layer's variables are recorded, by their identity."""
    names = {name for name, _ in (record.weights if record else {})}
    return {id(getattr(layer, name)): name for name in names}
