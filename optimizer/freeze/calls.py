"""A Keras model as one flat list of calls: nested models are opened, everything else is one call.

`keras.Model(tensors, outputs)` cannot do this: layers of nested models share names, and Keras
refuses two layers of one name in a model.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras.src.models.functional import Functional

from headtail.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands for a tensor among the arguments of a call."""

    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a layer or of a Keras operation."""

    name: str
    """Names of the models around it and its own, joined by slashes."""
    operation: Any
    arguments: tuple[Any, Any]
    """Positional and named arguments, with a `Slot` for every tensor."""
    reads: tuple[int, ...]
    """Indices of the tensors it takes."""
    makes: tuple[int, ...]
    """Indices of the tensors it returns."""


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    """All calls of a model, each after those whose tensors it takes."""

    model: keras.Model
    calls: tuple[Call, ...]
    tensors: tuple[Any, ...]
    """The symbolic tensor of every index."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def values(self, index: int) -> int:
        """Return the number of values that a tensor has for one window.

        Raises:
            ConfigError: If the model leaves an axis besides the first open.
        """
        return math.prod(self.window_shape(index))

    def window_shape(self, index: int) -> tuple[int, ...]:
        """Return a tensor's shape without the first axis.

        Raises:
            ConfigError: If the model leaves an axis besides the first open.
        """
        tensor = self.tensors[index]
        shape = tuple(tensor.shape[1:])
        if any(axis is None for axis in shape):
            raise ConfigError(
                f"model '{self.model.name}'",
                f"expected fixed axes but the first, received {tuple(tensor.shape)} at"
                f" '{tensor.name}'; build the model with an input shape",
            )
        return shape


def flatten_calls(model: keras.Model) -> Calls:
    """Return the calls of a Functional or Sequential model.

    Raises:
        ConfigError: If the model has no graph: it is not built, or has a `call` of its own.
    """
    functional = _graph(model)
    if functional is None:
        raise ConfigError(
            f"model '{model.name}'",
            "expected a built Functional or Sequential model, received one without a graph of"
            f" layers ({type(model).__name__}); a Sequential model needs an Input",
        )
    flattening = _Flattening()
    bound = {id(tensor): flattening.add(tensor) for tensor in functional.inputs}
    inputs = tuple(bound.values())
    flattening.walk(functional, bound, "")
    outputs = tuple(bound[id(tensor)] for tensor in functional.outputs)
    return Calls(model, tuple(flattening.calls), tuple(flattening.tensors), inputs, outputs)


def run_calls(
    calls: Iterable[Call], known: Mapping[int, Any], training: bool | None, wanted: Collection[int]
) -> list[Any]:
    """Make the calls one after another, as Keras does, and return the wanted tensors in order.

    Args:
        calls: Each after those whose tensors it takes.
        known: Tensors that are there already, by index.
        training: What every layer that asks for it is told.
        wanted: Indices of the tensors to return.
    """
    tensors = dict(known)
    for call in calls:
        args, named = keras.tree.map_structure(
            lambda value: tensors[value.index] if isinstance(value, Slot) else value, call.arguments
        )
        # Keras, too, passes over a `training` that was given when the model was built.
        if training is not None and "training" in getattr(call.operation, "_call_context_args", ()):
            named = {**named, "training": training}
        made = keras.tree.flatten(call.operation(*args, **named))
        tensors.update(zip(call.makes, made, strict=True))
    return [tensors[index] for index in wanted]


class _Flattening:
    """The list as it grows."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.tensors: list[Any] = []

    def add(self, tensor: Any) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def walk(self, functional: Functional, bound: dict[int, int], prefix: str) -> None:
        """Add the calls of a model whose inputs are bound to tensors of the list."""
        depths = functional._nodes_by_depth
        for node in (n for depth in sorted(depths, reverse=True) for n in depths[depth]):
            if node.is_input or any(id(t) not in bound for t in node.input_tensors):
                continue
            arguments = node.arguments.convert(
                lambda v: Slot(bound[id(v)]) if isinstance(v, keras.KerasTensor) else v
            )
            inner = _openable(node, arguments)
            name = f"{prefix}{node.operation.name}"
            if inner is None:
                reads = tuple(dict.fromkeys(bound[id(t)] for t in node.input_tensors))
                for tensor in node.outputs:
                    bound[id(tensor)] = self.add(tensor)
                makes = tuple(bound[id(t)] for t in node.outputs)
                self.calls.append(Call(name, node.operation, arguments, reads, makes))
                continue
            slots = keras.tree.flatten(arguments[0])
            within = {id(t): s.index for t, s in zip(inner.inputs, slots, strict=True)}
            self.walk(inner, within, f"{name}/")
            for outside, inside in zip(node.outputs, inner.outputs, strict=True):
                bound[id(outside)] = within[id(inside)]


def _graph(operation: Any) -> Functional | None:
    """Return the graph of a model; None where it has none or does not keep to it."""
    functional = getattr(operation, "_functional", None) or operation
    is_own = isinstance(operation, keras.Sequential) or type(operation).call is Functional.call
    return functional if isinstance(functional, Functional) and is_own else None


def _openable(node: Any, arguments: tuple[Any, Any]) -> Functional | None:
    """Return the graph behind a call where it takes its tensors just as they are given."""
    if not isinstance(node.operation, keras.Model):
        return None
    inner = _graph(node.operation)
    given = node.input_tensors
    is_plain = not any(v is not None for n, v in arguments[1].items() if n != "training")
    if inner is None or not is_plain or len(given) != len(inner.inputs):
        return None
    is_same = all(
        len(a.shape) == len(b.shape) and a.dtype == b.dtype
        for a, b in zip(given, inner.inputs, strict=True)
    )
    are_slots = all(isinstance(v, Slot) for v in keras.tree.flatten(arguments[0]))
    return inner if is_same and are_slots and not isinstance(arguments[0][0], dict) else None
