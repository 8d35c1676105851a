"""From a source's raw arrays to the model's inputs: window steps, dtype, shape, finite values."""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edge_agent.sources.frame import Frame
from headtail.bundle import Manifest
from headtail.errors import DataError, DTypeMismatch, ShapeMismatch, TensorError
from headtail.preprocess.pipeline import Pipeline
from headtail.tensor import Array, TensorSpec, check_finite, fits

ONLY_INPUT = "x"
"""What a source may call the input of a model that has one."""


class Intake:
    """Makes frames of a manifest's model."""

    def __init__(self, manifest: Manifest) -> None:
        """Build the preprocess steps.

        Raises:
            ConfigError: If a step is unknown.
        """
        self.pipeline = Pipeline(manifest.preprocess)
        self._specs = manifest.inputs
        self._is_batchable = manifest.is_batchable
        self._name = self._specs[0].name
        self._pack = self._packer()

    def accept_numbers(self, values: Sequence[Any]) -> dict[str, Array] | None:
        """Return the inputs of a model that takes just these numbers, in a fifth of the time.

        Args:
            values: Finite where they are numbers, as those of JSON are.

        Returns:
            What `prepare` returns; None where that must look at them: the model takes something
            else, or they are not so many numbers that float32 can hold.
        """
        if self._pack is None:
            return None
        try:
            content = self._pack(*values)
        except (struct.error, OverflowError):
            return None
        return {self._name: np.frombuffer(content, np.float32)}

    def _packer(self) -> Callable[..., bytes] | None:
        """Return what makes float32 of the numbers of one window; None where they need more."""
        spec = self._specs[0]
        shape = spec.shape[1:] if self._is_batchable else spec.shape
        is_plain = len(self._specs) == 1 and not self.pipeline.has_window_steps
        if not is_plain or spec.dtype != "float32" or len(shape) != 1 or shape[0] < 1:
            return None
        return struct.Struct(f"={shape[0]}f").pack

    def array_names(self, found: Sequence[str], where: str) -> tuple[str, ...]:
        """Return which of the arrays a source has are the model's inputs, in the model's order.

        Raises:
            DataError: If one is missing.
        """
        names = []
        for spec in self._specs:
            is_only = len(self._specs) == 1 and spec.name not in found
            names.append(ONLY_INPUT if is_only else spec.name)
            if names[-1] not in found:
                raise DataError(
                    where, f"array '{names[-1]}' is missing; found {', '.join(found) or 'none'}"
                )
        return tuple(names)

    def prepare(self, arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
        """Return the model's inputs from a source's raw arrays.

        The window steps apply to the first input.

        Args:
            arrays: By input name; `x` will do for a model's only input.
            where: Names the window in errors.

        Raises:
            DataError: If an input is missing.
            TensorError: If a value, dtype or shape is not what the model takes.
        """
        prepared = {}
        names = self.array_names(tuple(arrays), where)
        for i, (name, spec) in enumerate(zip(names, self._specs, strict=True)):
            array = arrays[name]
            check_finite(array, where)
            prepared[spec.name] = self.check(
                self._window(array, where) if i == 0 else array, spec, where
            )
        return prepared

    def _window(self, array: Array, where: str) -> Array:
        """Return an array after the window steps."""
        try:
            with np.errstate(over="ignore"):  # an overflow becomes infinite, which is refused
                return self.pipeline.window(array)
        except TensorError as error:
            raise DataError(where, str(error)) from error

    def accept(self, values: Array, where: str) -> dict[str, Array]:
        """Return the inputs of a model that has one, from values that went through all steps.

        Raises:
            DataError: If the model has several inputs.
            TensorError: If the values do not fit.
        """
        if len(self._specs) != 1:
            names = ", ".join(s.name for s in self._specs)
            raise DataError(where, f"a signal feeds one input; the model has {names}")
        return {self._specs[0].name: self.check(values, self._specs[0], where)}

    def check(self, array: Array, spec: TensorSpec, where: str) -> Array:
        """Return `array` in the dtype of `spec`, of one window's shape.

        Raises:
            TensorError: If it does not fit.
        """
        dtype = np.dtype(spec.dtype)
        if array.dtype != dtype:
            if not _is_convertible(array.dtype, dtype):
                raise DTypeMismatch(f"{where} '{spec.name}'", spec.dtype, array.dtype.name)
            with np.errstate(over="ignore"):  # an overflow becomes infinite and is refused below
                array = array.astype(dtype)
        check_finite(array, where)
        shape = spec.shape[1:] if self._is_batchable else spec.shape
        if not fits(array.shape, shape):
            if array.ndim + 1 == len(shape) and shape[0] == 1 and fits(array.shape, shape[1:]):
                return array[np.newaxis]
            raise ShapeMismatch(f"{where} '{spec.name}'", shape, array.shape)
        return array


def stack(frames: Sequence[Frame], is_batchable: bool) -> dict[str, Array]:
    """Return the tensors of one run of the model over `frames`."""
    first = frames[0].tensors
    if not is_batchable:
        assert len(frames) == 1, "a model without a batch axis takes one window at a time"
        return dict(first)
    if len(frames) == 1:
        return {name: array[np.newaxis] for name, array in first.items()}
    return {name: np.stack([frame.tensors[name] for frame in frames]) for name in first}


def grouped(frames: Sequence[Frame], limit: int) -> Iterator[Sequence[Frame]]:
    """Yield `frames` in groups of at most `limit`."""
    for start in range(0, len(frames), limit):
        yield frames[start : start + limit]


def _is_convertible(received: np.dtype[np.generic], expected: np.dtype[np.generic]) -> bool:
    """Whether a source's numbers may become the model's: floats from any real, else safely."""
    if expected.kind == "f":
        return received.kind in "fiub"
    return np.can_cast(received, expected, "safe")
