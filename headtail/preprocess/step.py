"""What a preprocess step is: a struct of checked parameters, and the two kinds of them."""

from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headtail.bundle.manifest import Step
from headtail.errors import ConfigError
from headtail.tensor import Array

Signal = NDArray[np.float64]
"""Samples of one lead in time order, shape (N,), any unit."""


T = TypeVar("T")


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of one step; a subclass bounds every one of them."""


class WindowStep(Protocol):
    """A step from one window to another, neither with a batch axis."""

    def apply(self, window: Array) -> Array:
        """Return the window after this step."""
        ...


def read_parameters(step: Step, kind: type[T]) -> T:
    """Check a step's parameters against the struct of its kind.

    Raises:
        ConfigError: If one is unknown, missing, of the wrong type or out of bounds; the text names
            the step and the parameter.
    """
    parameters: dict[str, Any] = step.parameters
    try:
        return msgspec.convert(parameters, type=kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"preprocess step '{step.name}'", str(error)) from error
