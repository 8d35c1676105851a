"""Tensor specs: the name, dtype and shape that one tensor must have."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headtail.errors import DTypeMismatch, NotFinite, ShapeMismatch, TensorInvalid

Array = NDArray[Any]

# dtype name -> datatype of the Open Inference Protocol v2. Strings ("BYTES") have no fixed
# size and never cross a partition point, so they are not here.
OIP_DATATYPES: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
_LITTLE_ENDIAN = {name: np.dtype(name).newbyteorder("<") for name in OIP_DATATYPES}
MAX_RANK = 16
_SQUARED = 8192  # values up to which OpenBLAS takes no other thread
_SIGNED, _UNSIGNED = np.dtype("<i2"), np.dtype("<u2")
_INFINITE, _NEGATIVE = 0x7C00, 0xFC00  # the bits of a half's infinity, and of it below zero


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, dtype and shape of one tensor; -1 stands for any length.

    A leading -1 is the batch axis: such a tensor holds one window per row.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in OIP_DATATYPES:
            raise ValueError(f"tensor '{self.name}': dtype '{self.dtype}' is not one we carry")
        if len(self.shape) > MAX_RANK or any(n < -1 for n in self.shape):
            raise ValueError(f"tensor '{self.name}': shape {self.shape} is not a tensor shape")

    @property
    def is_batchable(self) -> bool:
        """Whether the first axis counts windows."""
        return bool(self.shape) and self.shape[0] == -1

    @property
    def window_shape(self) -> tuple[int, ...]:
        """Shape of one window: every open axis taken as 1."""
        return tuple(1 if n < 0 else n for n in self.shape)

    @property
    def window_values(self) -> int:
        """Number of values in one window."""
        return math.prod(self.window_shape)

    @property
    def window_bytes(self) -> int:
        """Bytes of one window in this dtype."""
        return self.window_values * np.dtype(self.dtype).itemsize

    def check(self, array: Array, where: str) -> None:
        """Raise unless `array` has this dtype and shape.

        Raises:
            DTypeMismatch: If the dtype differs.
            ShapeMismatch: If the rank or a fixed axis differs, or an open axis is empty.
        """
        if array.dtype.name != self.dtype:
            raise DTypeMismatch(f"{where} '{self.name}'", self.dtype, array.dtype.name)
        if not fits(array.shape, self.shape):
            raise ShapeMismatch(f"{where} '{self.name}'", self.shape, array.shape)


def fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    """Return whether `shape` is non-empty and equals `expected` on every fixed axis."""
    if len(shape) != len(expected):
        return False
    for n, e in zip(shape, expected, strict=True):  # in half the time of `all`
        if (n != e or n < 0) and (e >= 0 or n <= 0):
            return False
    return True


def check_finite(array: Array, where: str) -> None:
    """Raise NotFinite if a floating-point `array` holds NaN or infinity."""
    if array.dtype.kind == "f" and not is_finite(array):
        bad = int(array.size - np.isfinite(array).sum())
        raise NotFinite(where, bad, array.size)


def is_finite(array: Array) -> bool:
    """Return whether every value of a floating-point array is finite."""
    if array.dtype.itemsize != 2 or array.size == 0:
        # The sum of squares is finite only if all values are; one that is not says nothing.
        if array.size <= _SQUARED and math.isfinite(np.vdot(array, array)):
            return True
        # A search of the bytes takes half as long as `all`.
        return b"\0" not in np.isfinite(array).tobytes()
    # NumPy tests halves one by one. As integers those that are not finite are the largest.
    return bool(array.view(_SIGNED).max() < _INFINITE and array.view(_UNSIGNED).max() < _NEGATIVE)


def little_endian(dtype: str) -> "np.dtype[Any]":
    """Return the type of values as they travel."""
    return _LITTLE_ENDIAN[dtype]


def from_buffer(buffer: bytes | memoryview, spec: TensorSpec, shape: Sequence[int]) -> Array:
    """View little-endian row-major bytes as an array of `spec`'s dtype, without a copy.

    Args:
        buffer: Raw tensor bytes, as the Open Inference Protocol carries them.
        spec: What is expected.
        shape: The shape the sender states.

    Raises:
        ShapeMismatch: If `shape` does not fit the spec.
        TensorInvalid: If the number of bytes is not that of `shape`.
    """
    if not fits(shape, spec.shape):
        raise ShapeMismatch(f"tensor '{spec.name}'", spec.shape, tuple(shape))
    dtype = _LITTLE_ENDIAN[spec.dtype]
    expected = math.prod(shape) * dtype.itemsize
    if len(buffer) != expected:
        raise TensorInvalid(f"tensor '{spec.name}'", f"{expected} bytes", f"{len(buffer)}")
    return np.frombuffer(buffer, dtype=dtype).reshape(shape)


def aligned(array: Array) -> Array:
    """Return `array`, or a copy where its values do not lie on addresses of their size.

    A message's tensors begin anywhere, and NumPy and onnxruntime lose more on that than a copy
    takes (measured at 16 and 256 KB).
    """
    return array if array.flags.aligned else array.copy()


def to_bytes(array: Array) -> bytes:
    """Return the little-endian row-major bytes of `array`."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
