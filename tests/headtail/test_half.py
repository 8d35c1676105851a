"""Casts to and from float16, bit by bit against NumPy's."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headtail.half import _FLOAT, _FLOAT16, _graph, from_half, to_half
from headtail.wire import INT4_MAX, INT4_MIN, INT8_MAX, INT8_MIN, Affine, Encoding, _stored, encode

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
LIMIT = np.finfo(np.float16).max
WORDS = hnp.arrays(np.uint32, st.integers(1, 40))


def by_numpy(array: np.ndarray) -> np.ndarray:
    """Return float16 as NumPy makes it, cut off at the ends of its range."""
    return np.clip(array, np.float32(-LIMIT), np.float32(LIMIT)).astype(np.float16)


def many(array: np.ndarray) -> np.ndarray:
    """Return the values repeated until onnxruntime casts them."""
    return np.resize(array, 3000)


def same(expected: np.ndarray, actual: np.ndarray) -> bool:
    """Return whether the bits are equal; of what is not a number only that it is not."""
    nan = np.isnan(expected)
    bits = expected.view(np.uint16 if expected.itemsize == 2 else np.uint32)
    return bool(
        (nan == np.isnan(actual)).all()
        and (bits[~nan] == actual.view(bits.dtype)[~nan]).all()
        and expected.dtype == actual.dtype
    )


def test_every_half_comes_back() -> None:
    """All 65,536, subnormal ones among them."""
    assert same(EVERY_HALF.astype(np.float32), from_half(EVERY_HALF))
    finite = EVERY_HALF[np.isfinite(EVERY_HALF)]
    assert same(finite, to_half(from_half(finite)))


def test_every_tie_goes_to_the_even_one() -> None:
    """Halfway between each two neighbours, and the next float32 to either side."""
    positive = np.sort(EVERY_HALF[np.isfinite(EVERY_HALF) & (EVERY_HALF >= 0)].astype(np.float32))
    ties = ((positive[1:].astype(np.float64) + positive[:-1]) / 2).astype(np.float32)
    beside = [np.nextafter(ties, np.float32(n)) for n in (0, np.inf)]
    for values in (ties, *beside):
        assert same(by_numpy(values), to_half(values))
        assert same(by_numpy(-values), to_half(-values))


@given(WORDS)
def test_any_float32_becomes_what_numpy_makes_of_it(words: np.ndarray) -> None:
    """Whatever its bits: few values, many, and many with axes that are not in order."""
    array = words.view(np.float32)
    assert same(by_numpy(array), to_half(array))
    assert same(by_numpy(many(array)), to_half(many(array)))
    turned = many(array).reshape(60, 50).T
    assert same(by_numpy(turned), to_half(turned))
    assert turned.shape == to_half(turned).shape


@pytest.mark.parametrize("value", [65504.0, 65519.996, 65520.0, 1e9, np.inf, 3e38])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_beyond_the_range_is_cut_off_at_its_end(value: float, sign: int) -> None:
    """One value of many is enough."""
    array = np.zeros((2, 2000), np.float32)
    array[1, 7] = sign * value
    half = to_half(array)
    assert (sign * LIMIT, 0, (2, 2000)) == (half[1, 7], half[0, 0], half.shape)


def test_the_graph_is_one_that_onnx_takes() -> None:
    onnx = pytest.importorskip("onnx")
    for source, target in ((_FLOAT, _FLOAT16), (_FLOAT16, _FLOAT)):
        model = onnx.load_from_string(_graph(source, target))
        onnx.checker.check_model(model, full_check=True)


@given(
    hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32)),
    st.floats(1e-3, 1e3),
    st.integers(INT8_MIN, INT8_MAX),
)
def test_many_values_are_stored_as_few_are(
    array: np.ndarray, scale: float, zero_point: int
) -> None:
    """Against the formula word by word; a size that ends within a block, and axes."""
    affine = Affine(struct.unpack("<f", struct.pack("<f", scale))[0], zero_point)
    inverse = np.float32(1 / affine.scale)
    large = np.resize(array, (3, 7000))
    for values in (array, large):
        rounded = np.rint(values * inverse + np.float32(zero_point))
        expected = np.clip(rounded, INT8_MIN, INT8_MAX).astype(np.int8)
        np.testing.assert_array_equal(expected, encode(values, Encoding.INT8, affine))
        small = np.clip(rounded, INT4_MIN, INT4_MAX).astype(np.int8)
        np.testing.assert_array_equal(small, _stored(values, affine, INT4_MIN, INT4_MAX))
