"""The layers of a backbone from a `.keras` file: its input fitted, its classification head off."""

from pathlib import Path
from typing import Any

import keras

from headtail.errors import ConfigError
from optimizer.keras_file import read_keras_file

_PASSING = (keras.layers.Softmax, keras.layers.Activation, keras.layers.Dropout)


def read_backbone(path: Path) -> keras.Model:
    """Read a `.keras` file with one input and one output.

    Raises:
        ConfigError: If it cannot be read, or has other inputs and outputs.
    """
    model = read_keras_file(path)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ConfigError(str(path), "expected a model with one input and one output")
    return model


def fit_input(model: keras.Model, shape: tuple[int, int, int], where: str) -> keras.Model:
    """Return the model for images of `shape`; one whose input is open is built anew for it.

    Raises:
        ConfigError: If its input is fixed to another shape.
    """
    have = tuple(model.inputs[0].shape[1:])
    is_fitting = len(have) == 3 and all(a in {None, b} for a, b in zip(have, shape, strict=True))
    if not is_fitting:
        raise ConfigError(where, f"expected an input of shape {shape}, received {have}")
    if have == shape:
        return model
    clone = keras.models.clone_model(model, input_tensors=keras.Input(shape, name="pixels"))
    clone.set_weights(model.get_weights())
    return clone


def find_features(model: keras.Model) -> Any:
    """Return the tensor that the model's last dense layer takes; its output if it ends otherwise.

    What follows that layer (softmax, dropout) goes with it.
    """
    tensor = model.outputs[0]
    operation, before = _maker(tensor)
    while isinstance(operation, _PASSING):
        operation, before = _maker(before)
    return before if isinstance(operation, keras.layers.Dense) else tensor


def _maker(tensor: Any) -> tuple[Any, Any]:
    """Return what made a tensor, and what that took first."""
    operation, node, _ = tensor._keras_history
    taken = operation._inbound_nodes[node].input_tensors
    return operation, taken[0] if taken else tensor
