"""Tests of the wire encodings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headtail.tensor import TensorSpec, from_buffer, to_bytes
from headtail.wire import (
    INT8_MAX,
    INT8_MIN,
    Affine,
    Encoding,
    calibrate,
    decode,
    encode,
    wire_specs,
)

FLOAT32 = TensorSpec("a", "float32", (-1, 3))
FINITE = st.floats(-1e6, 1e6, width=32)
ARRAYS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=8), elements=FINITE
)


@given(ARRAYS)
def test_float32_comes_back_bit_by_bit(array: np.ndarray) -> None:
    """Encoding to float32 and back changes nothing, NaN payloads included."""
    spec = TensorSpec("a", "float32", array.shape)
    wire = from_buffer(to_bytes(encode(array, Encoding.FLOAT32)), spec, array.shape)
    back = decode(wire, spec)
    assert array.tobytes() == back.tobytes()


@given(ARRAYS)
def test_float16_equals_numpy_within_range(array: np.ndarray) -> None:
    """Float16 is IEEE rounding; values beyond its range saturate instead of becoming infinite."""
    limit = np.finfo(np.float16).max
    expected = np.clip(array, -limit, limit).astype(np.float16).astype(np.float32)
    wire = encode(array, Encoding.FLOAT16)
    assert np.float16 == wire.dtype
    np.testing.assert_array_equal(expected, decode(wire, FLOAT32))


@given(ARRAYS)
def test_int8_error_is_at_most_half_a_step_inside_the_range(array: np.ndarray) -> None:
    """A calibrated tensor comes back within half a quantisation step (plus float rounding)."""
    affine = calibrate(array)
    back = decode(encode(array, Encoding.INT8, affine), FLOAT32, affine)
    # The zero point is rounded, so the ends of the range may clip by up to half a step more.
    bound = affine.scale * 1.001 + np.abs(array).max() * 1e-6
    assert np.abs(back - array).max() <= bound


@given(ARRAYS)
def test_int8_keeps_zero_exactly(array: np.ndarray) -> None:
    """Zero is a stored value, so padding and ReLU's zeros stay."""
    affine = calibrate(array)
    zeros = np.zeros(3, np.float32)
    np.testing.assert_array_equal(
        zeros, decode(encode(zeros, Encoding.INT8, affine), FLOAT32, affine)
    )


def test_int8_equals_the_hand_calculation() -> None:
    """-1..3 over 255 steps: scale 4/255, zero point -64."""
    values = np.array([-1.0, 0.0, 1.0, 3.0, 99.0, -99.0], np.float32)
    affine = calibrate(values[:4])
    assert affine.scale == pytest.approx(4 / 255)
    assert -64 == affine.zero_point
    stored = encode(values, Encoding.INT8, affine)
    assert [-128, -64, 0, 127, INT8_MAX, INT8_MIN] == stored.tolist()


@given(hnp.arrays(np.int8, 16), st.floats(1e-6, 1e3), st.integers(INT8_MIN, INT8_MAX))
def test_every_stored_int8_encodes_to_itself(stored: np.ndarray, scale: float, zero: int) -> None:
    """encode(decode(q)) is q: what the fog sees is what the edge meant."""
    affine = Affine(scale, zero)
    again = encode(decode(stored, FLOAT32, affine), Encoding.INT8, affine)
    np.testing.assert_array_equal(stored, again)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_integers_travel_as_they_are(encoding: Encoding) -> None:
    """Encodings change float32 only."""
    array = np.arange(4, dtype=np.int64)
    spec = TensorSpec("ids", "int64", (4,))
    assert array is encode(array, encoding)
    assert array is decode(array, spec)
    assert (spec,) == wire_specs([spec], encoding)


def test_an_all_zero_tensor_has_a_usable_affine() -> None:
    """A dead channel must not give a scale of zero."""
    assert Affine(1.0, 0) == calibrate(np.zeros(5, np.float32))


@pytest.mark.parametrize(("scale", "zero"), [(0.0, 0), (-1.0, 0), (float("nan"), 0), (1.0, 128)])
def test_an_impossible_affine_is_refused(scale: float, zero: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Affine(scale, zero)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1024,), (1025,), (64, 64)])
def test_int8_of_any_size_follows_the_formula_bit_by_bit(shape: tuple[int, ...]) -> None:
    """Looked up or worked out, copied or in place: the same values."""
    rng = np.random.default_rng(5)
    affine = Affine(scale=0.037, zero_point=-7)
    array = np.asarray(rng.normal(scale=4, size=shape), np.float32)
    scaled = array * np.float32(1 / affine.scale) + np.float32(affine.zero_point)
    stored = encode(array, Encoding.INT8, affine)
    assert np.array_equal(np.clip(np.rint(scaled), -128, 127).astype(np.int8), stored)
    assert stored.shape == shape
    real = (stored.astype(np.float32) - np.float32(-7)) * np.float32(0.037)
    received = decode(stored, TensorSpec("x", "float32", shape), affine)
    assert np.array_equal(real, received)
    assert (received.dtype, received.shape) == (np.float32, shape)


def test_every_int8_decodes_as_the_formula_says() -> None:
    stored = np.arange(-128, 128).astype(np.int8)
    real = (stored.astype(np.float32) - np.float32(3)) * np.float32(0.1)
    spec = TensorSpec("x", "float32", (-1,))
    assert np.array_equal(real, decode(stored, spec, Affine(scale=0.1, zero_point=3)))
