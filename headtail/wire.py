"""Wire encodings: how an activation's float32 values become bytes at the partition point."""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

import msgspec
import numpy as np

from headtail.tensor import Array, TensorSpec

INT8_MIN, INT8_MAX = -128, 127
# Arrays without axes: the quickest operands that NumPy takes.
_LOWEST, _HIGHEST = np.array(INT8_MIN, np.float32), np.array(INT8_MAX, np.float32)
_TABLE_VALUES = 1024  # up to here looking values up costs less than working them out (measured)
# Keyed by the two numbers: they hash faster than the record.
_AFFINES = 256  # tables kept, of 1 KiB each; more only means that they are made again


class Encoding(StrEnum):
    """The ways a float32 tensor may travel; other dtypes always travel as they are."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


class Affine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Per-tensor affine quantisation: real = scale * (stored - zero_point).

    Source: Jacob et al., arXiv:1712.05877, eq. 1.
    """

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be positive and finite, received {self.scale}")
        if not INT8_MIN <= self.zero_point <= INT8_MAX:
            raise ValueError(f"zero_point must be an int8, received {self.zero_point}")


def calibrate(array: Array) -> Affine:
    """Return the int8 affine that spans `array`'s range, zero included.

    Args:
        array: Activations seen on calibration data, any shape, finite.
    """
    low, high = min(0.0, float(array.min())), max(0.0, float(array.max()))
    scale = float(np.float32((high - low) / (INT8_MAX - INT8_MIN)))
    if scale < np.finfo(np.float32).tiny:
        return Affine(scale=1.0, zero_point=0)
    zero_point = int(np.clip(round(INT8_MIN - low / scale), INT8_MIN, INT8_MAX))
    return Affine(scale=scale, zero_point=zero_point)


def wire_dtype(dtype: str, encoding: Encoding) -> str:
    """Return the dtype in which a tensor of `dtype` travels."""
    return encoding.value if dtype == "float32" else dtype


def wire_specs(specs: Sequence[TensorSpec], encoding: Encoding) -> tuple[TensorSpec, ...]:
    """Return the tensor specs of an activation as it travels."""
    return tuple(
        msgspec.structs.replace(spec, dtype=wire_dtype(spec.dtype, encoding)) for spec in specs
    )


def encode(array: Array, encoding: Encoding, affine: Affine | None = None) -> Array:
    """Return `array` in its travelling dtype.

    Args:
        array: Activation, any shape; only float32 is changed.
        encoding: How float32 travels.
        affine: Quantisation of this tensor; needed for int8.
    """
    if array.dtype != np.float32 or encoding is Encoding.FLOAT32:
        return array
    if encoding is Encoding.FLOAT16:
        limit = np.finfo(np.float16).max
        return np.clip(array, -limit, limit).astype(np.float16)
    assert affine is not None, "int8 needs an affine; the manifest reader demands it"
    inverse, zero_point = _scaling(affine.scale, affine.zero_point)
    # Without `out` an array without axes becomes a scalar.
    scaled = np.multiply(array, inverse, out=np.empty(array.shape, np.float32))
    np.add(scaled, zero_point, out=scaled)
    np.rint(scaled, out=scaled)
    # np.clip does the same in more calls.
    np.maximum(scaled, _LOWEST, out=scaled)
    np.minimum(scaled, _HIGHEST, out=scaled)
    return scaled.astype(np.int8)


def decode(array: Array, spec: TensorSpec, affine: Affine | None = None) -> Array:
    """Return what travelled as `spec` says it was before; the inverse of `encode`.

    Args:
        array: Tensor in its travelling dtype.
        spec: Tensor spec of the activation in the model.
        affine: Quantisation of this tensor; needed where it travelled as int8.
    """
    if spec.dtype != "float32" or array.dtype == np.float32:
        return array
    if array.dtype == np.float16:
        return array.astype(np.float32)
    assert affine is not None, "int8 needs an affine; the manifest reader demands it"
    if array.ndim > 0 and array.size <= _TABLE_VALUES:
        return _table(affine.scale, affine.zero_point).take(array, mode="wrap")
    return _real(array, affine)


def _real(array: Array, affine: Affine) -> Array:
    real = array.astype(np.float32)
    real -= np.float32(affine.zero_point)
    real *= np.float32(affine.scale)
    return real


@lru_cache(_AFFINES)
def _table(scale: float, zero_point: int) -> Array:
    """Return the real value of each int8; the negative ones are counted from the end."""
    return _real(np.arange(256, dtype=np.uint8).view(np.int8), Affine(scale, zero_point))


@lru_cache(_AFFINES)
def _scaling(scale: float, zero_point: int) -> tuple[Array, Array]:
    """Return what `encode` multiplies by and adds."""
    return np.array(1.0 / scale, np.float32), np.array(zero_point, np.float32)
