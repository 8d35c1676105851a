"""Tests of tensor specs and raw tensor bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headtail.errors import DTypeMismatch, NotFinite, ShapeMismatch, TensorInvalid
from headtail.tensor import OIP_DATATYPES, TensorSpec, check_finite, fits, from_buffer, to_bytes

SPEC = TensorSpec("x", "float32", (-1, 28, 28, 128))
DTYPES = st.sampled_from([np.dtype(n) for n in OIP_DATATYPES])


@given(hnp.arrays(DTYPES, hnp.array_shapes(max_dims=4, max_side=5)))
def test_bytes_come_back_bit_by_bit(array: np.ndarray) -> None:
    """Every dtype we carry survives the trip through raw bytes."""
    spec = TensorSpec("x", array.dtype.name, array.shape)
    back = from_buffer(to_bytes(array), spec, array.shape)
    assert array.tobytes() == back.tobytes()
    assert array.dtype == back.dtype


def test_a_received_tensor_is_a_view() -> None:
    """No copy between the wire and onnxruntime."""
    data = bytes(8)
    assert np.shares_memory(
        np.frombuffer(data, np.uint8), from_buffer(data, TensorSpec("x", "float32", (2,)), (2,))
    )


def test_sizes_of_one_window() -> None:
    """Open axes count as one."""
    assert (1, 28, 28, 128) == SPEC.window_shape
    assert 401_408 == SPEC.window_bytes
    assert SPEC.is_batchable


def test_a_wrong_dtype_names_both() -> None:
    with pytest.raises(DTypeMismatch, match="segment 1 'x': expected float32, received float64"):
        SPEC.check(np.zeros((1, 28, 28, 128)), "segment 1")


def test_a_wrong_shape_names_both() -> None:
    message = r"segment 1 'x': expected shape \(any, 28, 28, 128\), received \(1, 28, 28, 64\)"
    with pytest.raises(ShapeMismatch, match=message):
        SPEC.check(np.zeros((1, 28, 28, 64), np.float32), "segment 1")


@pytest.mark.parametrize("shape", [(0, 2), (2,), (1, 2, 3), (1, 3)])
def test_an_empty_or_misfit_shape_is_refused(shape: tuple[int, ...]) -> None:
    spec = TensorSpec("x", "float32", (-1, 2))
    with pytest.raises(ShapeMismatch, match="expected shape"):
        from_buffer(bytes(4 * int(np.prod(shape))), spec, shape)


@pytest.mark.parametrize("size", [0, 7, 9, 16])
def test_a_wrong_number_of_bytes_is_refused(size: int) -> None:
    with pytest.raises(TensorInvalid, match=f"expected 8 bytes, received {size}"):
        from_buffer(bytes(size), TensorSpec("x", "float32", (2,)), (2,))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted(bad: float) -> None:
    array = np.ones((3, 4), np.float32)
    array[1, 2] = bad
    with pytest.raises(
        NotFinite, match="window 7: expected finite values, received 1 NaN or inf of 12"
    ):
        check_finite(array, "window 7")


def test_large_finite_values_are_not_called_infinite() -> None:
    """A sum that overflows is looked at value by value."""
    check_finite(np.full(8, np.finfo(np.float64).max), "window")
    check_finite(np.full(8, np.finfo(np.float16).max, np.float16), "window")
    check_finite(np.arange(3), "window")


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("complex64", (1,)), ("BYTES", (1,)), ("float32", (-2,)), ("float32", (1,) * 17)],
)
def test_an_impossible_spec_is_refused(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tensor 'x'"):
        TensorSpec("x", dtype, shape)


def test_an_open_axis_takes_any_length_but_none_or_less() -> None:
    """A shape from the wire may say -1 itself."""
    assert [False, False, True, True] == [fits((n, 2), (-1, 2)) for n in (-1, 0, 1, 7)]
    assert not fits((-1,), (1,))


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (70_000,)])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_bad_value_among_the_largest_is_found(
    dtype: type, bad: float, shape: tuple[int, ...]
) -> None:
    """Anywhere, of either sign, whatever the others' signs."""
    array = np.full(shape, np.finfo(dtype).max, dtype)
    array.reshape(-1)[::2] *= dtype(-1)
    check_finite(array, "window")
    array.flat[array.size // 2] = bad
    with pytest.raises(NotFinite, match=f"received 1 NaN or inf of {array.size}"):
        check_finite(array, "window")


@given(hnp.arrays(np.float16, hnp.array_shapes(max_side=4)))
def test_halves_are_finite_where_numpy_says_so(array: np.ndarray) -> None:
    try:
        check_finite(array, "window")
    except NotFinite:
        assert not np.isfinite(array).all()
    else:
        assert np.isfinite(array).all()
