"""Wire encodings: how an activation's float32 values become bytes at the partition point.

No protocol here has a type of four bits, so int4 travels as bytes (uint8): the values of one window
in row-major order, two to a byte, each in two's complement, the first of the two in the low bits as
in ONNX. A window of an odd number of values ends in four bits that say nothing; no byte holds
values of two windows. (-1, 16, 3) becomes (-1, 24).

Source of the order: https://onnx.ai/onnx/technical/int4.html, "Packing".
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

import msgspec
import numpy as np

from headtail.half import from_half, to_half
from headtail.tensor import Array, TensorSpec

INT8_MIN, INT8_MAX = -128, 127
INT4_MIN, INT4_MAX = -8, 7
_NIBBLES, _NIBBLE_BITS = np.array(0x0F0F, np.uint16), np.array(4, np.uint16)
_PAIR, _FLOAT32 = np.dtype("<u2"), np.dtype(np.float32)  # a pair's first value in the low byte
_TABLE_VALUES = 1024  # up to here looking values up costs less than working them out (measured)
_BLOCK_VALUES = 1 << 14  # cut off at once
# Keyed by the two numbers: they hash faster than the record.
_AFFINES = 256  # tables kept, of 1 or 2 KiB each; more only means that they are made again


class Encoding(StrEnum):
    """The ways a float32 tensor may travel; other dtypes always travel as they are."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    INT4 = "int4"


USUAL_ENCODINGS = (Encoding.FLOAT32, Encoding.FLOAT16, Encoding.INT8)
"""What is offered where nobody names encodings; int4 costs accuracy, so one asks for it."""
STORED_RANGES: Mapping[Encoding, tuple[int, int]] = MappingProxyType(
    {Encoding.INT8: (INT8_MIN, INT8_MAX), Encoding.INT4: (INT4_MIN, INT4_MAX)}
)
"""Least and largest stored value of the encodings that need an affine."""


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


def calibrate(array: Array, encoding: Encoding = Encoding.INT8) -> Affine:
    """Return the affine that spans `array`'s range, zero included.

    Args:
        array: Activations seen on calibration data, any shape, finite.
        encoding: int8 or int4.
    """
    least, largest = STORED_RANGES[encoding]
    low, high = min(0.0, float(array.min())), max(0.0, float(array.max()))
    scale = float(np.float32((high - low) / (largest - least)))
    if scale < np.finfo(np.float32).tiny:
        return Affine(scale=1.0, zero_point=0)
    zero_point = int(np.clip(round(least - low / scale), least, largest))
    return Affine(scale=scale, zero_point=zero_point)


def can_carry(encoding: Encoding, specs: Sequence[TensorSpec]) -> bool:
    """Return whether an activation of `specs` may travel as `encoding`.

    int4 needs to know how many values a window has, so no axis but the batch's may be open.
    """
    return encoding is not Encoding.INT4 or all(
        s.dtype != "float32" or -1 not in s.shape[s.is_batchable :] for s in specs
    )


def wire_specs(specs: Sequence[TensorSpec], encoding: Encoding) -> tuple[TensorSpec, ...]:
    """Return the tensor specs of an activation as it travels.

    Raises:
        ValueError: If it cannot travel as `encoding`.
    """
    if not can_carry(encoding, specs):
        shapes = ", ".join(f"'{s.name}' {s.shape}" for s in specs)
        raise ValueError(f"{encoding.value} needs every axis but the batch's fixed, not {shapes}")
    return tuple(_wire_spec(s, encoding) if s.dtype == "float32" else s for s in specs)


def _wire_spec(spec: TensorSpec, encoding: Encoding) -> TensorSpec:
    if encoding is not Encoding.INT4:
        return msgspec.structs.replace(spec, dtype=encoding.value)
    packed = (*spec.shape[: spec.is_batchable], (spec.window_values + 1) // 2)
    return msgspec.structs.replace(spec, dtype="uint8", shape=packed)


def encode(
    array: Array,
    encoding: Encoding,
    affine: Affine | None = None,
    is_batchable: bool = True,
) -> Array:
    """Return `array` in its travelling dtype, for int4 also in its travelling shape.

    Args:
        array: Activation, any shape; only float32 is changed.
        encoding: How float32 travels.
        affine: Quantisation of this tensor; needed for int8 and int4.
        is_batchable: Whether the first axis counts windows; only int4 asks.
    """
    if array.dtype != np.float32 or encoding is Encoding.FLOAT32:
        return array
    if encoding is Encoding.FLOAT16:
        return to_half(array)
    assert affine is not None, "the manifest reader demands an affine"
    if encoding is Encoding.INT8:
        return _stored(array, affine, INT8_MIN, INT8_MAX)
    return _pack(_stored(array, affine, INT4_MIN, INT4_MAX), is_batchable)


def decode(array: Array, spec: TensorSpec, affine: Affine | None = None) -> Array:
    """Return what travelled as `spec` says it was before; the inverse of `encode`.

    Args:
        array: Tensor as it travelled: of the dtype, and for int4 the shape, of `wire_specs`.
        spec: Tensor spec of the activation in the model.
        affine: Quantisation of this tensor; needed where it travelled as int8 or int4.
    """
    kind = array.dtype.char  # compares faster than the dtype
    if spec.dtype != "float32" or kind == "f":
        return array
    if kind == "e":
        return from_half(array)
    assert affine is not None, "the manifest reader demands an affine"
    if kind == "B":
        return _unpack(array, spec, affine)
    if array.ndim > 0 and array.size <= _TABLE_VALUES:
        return _table(affine.scale, affine.zero_point).take(array, mode="wrap")
    return _real(array, affine)


def _stored(array: Array, affine: Affine, least: int, largest: int) -> Array:
    inverse, zero_point = _scaling(affine.scale, affine.zero_point)
    # Without `out` an array without axes becomes a scalar.
    scaled = np.multiply(array, inverse, out=np.empty(array.shape, np.float32))
    np.add(scaled, zero_point, out=scaled)
    np.rint(scaled, out=scaled)
    if scaled.size <= _TABLE_VALUES:
        _cut_off(scaled, *_ends(least, largest, 0))
    else:
        # NumPy takes one number as the limit of many values ten times as slowly as an array.
        lowest, highest = _ends(least, largest, _BLOCK_VALUES)
        flat = scaled.reshape(-1)
        for start in range(0, flat.size, _BLOCK_VALUES):
            part = flat[start : start + _BLOCK_VALUES]
            _cut_off(part, lowest[: part.size], highest[: part.size])
    return scaled.astype(np.int8)


def _cut_off(scaled: Array, lowest: Array, highest: Array) -> None:
    # np.clip does the same in more calls.
    np.maximum(scaled, lowest, out=scaled)
    np.minimum(scaled, highest, out=scaled)


def _pack(stored: Array, is_batchable: bool) -> Array:
    """Return values of four bits two to a byte, each window by itself."""
    rows, window = stored.shape[:is_batchable], stored.shape[is_batchable:]
    values = math.prod(window)
    if values % 2:
        even = np.zeros((*rows, values + 1), np.int8)
        even[..., :-1] = stored.reshape(*rows, values)
        stored, values = even, values + 1
    pairs = stored.reshape(*rows, values).view(_PAIR)
    if pairs.size <= _TABLE_VALUES // 2:
        return _packed().take(pairs, mode="wrap")
    return _squeeze(pairs)


def _squeeze(pairs: Array) -> Array:
    """Return the low four bits of both bytes as one byte."""
    nibbles = np.bitwise_and(pairs, _NIBBLES)
    np.bitwise_or(nibbles, np.right_shift(nibbles, _NIBBLE_BITS), out=nibbles)
    return nibbles.astype(np.uint8)


def _unpack(array: Array, spec: TensorSpec, affine: Affine) -> Array:
    """Return the real values of packed windows, in the shape of `spec`."""
    real = _pair_table(affine.scale, affine.zero_point).take(array, mode="wrap").view(_FLOAT32)
    shape = (*array.shape[:-1], *spec.shape[spec.is_batchable :])
    if real.size != math.prod(shape):
        real = real[..., :-1]
    return real.reshape(shape)


def _real(array: Array, affine: Affine) -> Array:
    real = array.astype(np.float32)
    real -= np.float32(affine.zero_point)
    real *= np.float32(affine.scale)
    return real


@lru_cache(_AFFINES)
def _table(scale: float, zero_point: int) -> Array:
    """Return the real value of each int8; the negative ones are counted from the end."""
    return _real(np.arange(256, dtype=np.uint8).view(np.int8), Affine(scale, zero_point))


@lru_cache(4)
def _ends(least: int, largest: int, values: int) -> tuple[Array, Array]:
    """Return the ends of a stored range, repeated; for no values without axes, which is quick."""
    shape = (values,) if values else ()
    return np.full(shape, least, np.float32), np.full(shape, largest, np.float32)


@lru_cache(_AFFINES)
def _scaling(scale: float, zero_point: int) -> tuple[Array, Array]:
    """Return what `encode` multiplies by and adds."""
    return np.array(1.0 / scale, np.float32), np.array(zero_point, np.float32)


@lru_cache(_AFFINES)
def _pair_table(scale: float, zero_point: int) -> Array:
    """Return for each byte the two real values in it, as one item of eight bytes."""
    low, high = np.divmod(np.arange(256), 16)[::-1]
    stored = np.stack([low, high], axis=1)
    stored[stored > INT4_MAX] -= 16
    return _real(stored, Affine(scale, zero_point)).view(np.uint64).reshape(256)


@lru_cache(1)
def _packed() -> Array:
    """Return `_squeeze` of every pair of bytes."""
    return _squeeze(np.arange(1 << 16, dtype=np.uint16))
