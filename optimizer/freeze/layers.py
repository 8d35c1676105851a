"""The layers of a model that a freeze mask speaks of, and what a mask does to the model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from headtail.errors import ConfigError
from optimizer.freeze.calls import Calls
from optimizer.freeze.mask import FreezeMask


@dataclass(frozen=True, slots=True, eq=False)
class FreezableLayer:
    """A layer with weights that training can change."""

    name: str
    """Names of the models around it and its own, joined by slashes."""
    layer: Any
    parameters: int
    """Values that an optimiser changes where the layer is trained."""


def freezable_layers(calls: Calls) -> tuple[FreezableLayer, ...]:
    """Return the layers with weights that training can change, each once, in the order of calls.

    A layer that is called several times stands where it is called first. A layer made of others,
    such as MultiHeadAttention, is one layer; a nested model is opened. A BatchNormalization counts
    also where it has no scale and no shift, since training moves its statistics; a Normalization,
    which only `adapt` changes, does not.

    Raises:
        ConfigError: If there are none.
    """
    found: dict[int, FreezableLayer] = {}
    for call in calls.calls:
        layer = call.operation
        if id(layer) in found or not isinstance(layer, keras.layers.Layer):
            continue
        parameters = sum(math.prod(v.shape) for v in trainable_variables(layer))
        if parameters or isinstance(layer, keras.layers.BatchNormalization):
            found[id(layer)] = FreezableLayer(call.name, layer, parameters)
    if not found:
        raise ConfigError(
            f"model '{calls.model.name}'",
            "expected layers with weights to freeze or train, received none",
        )
    return tuple(found.values())


def trainable_variables(layer: Any) -> Iterator[Any]:
    """Yield what an optimiser would change in a layer and those inside it, frozen or not."""
    # Keras' own `trainable_variables` leaves out those of layers that are frozen now.
    for part in layer._flatten_layers():
        yield from part._trainable_variables


def apply_mask(model: keras.Model, layers: Sequence[FreezableLayer], mask: FreezeMask) -> None:
    """Set `trainable` of every layer of the model as the mask says, whatever it was.

    A frozen BatchNormalization then runs in inference mode, also while others are trained.

    Raises:
        ConfigError: If the mask has not one bool per layer.
    """
    if len(mask) != len(layers):
        raise ConfigError(
            "freeze mask", f"expected {len(layers)} bools, one per layer, received {len(mask)}"
        )
    # One by one, the models around them too: a frozen one hides the layers inside it, and Keras
    # passes over `model.trainable = True` where the model has that value, whatever its layers have.
    for part in model._flatten_layers():
        part.trainable = True
    for freezable, is_trained in zip(layers, mask, strict=True):
        if not is_trained:
            freezable.layer.trainable = False


def places(layers: Sequence[FreezableLayer], names: Sequence[str], where: str) -> tuple[int, ...]:
    """Return the places of the layers of these names.

    Raises:
        ConfigError: If there is no layer of a name; `where` is the key that holds it.
    """
    known = {freezable.name: i for i, freezable in enumerate(layers)}
    for name in names:
        if name not in known:
            raise ConfigError(
                where,
                f"expected names of layers with weights, received '{name}'; there are"
                f" {', '.join(list(known)[:6])}{', ...' if len(known) > 6 else ''}",
            )
    return tuple(known[name] for name in names)
