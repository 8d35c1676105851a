"""Tests of int4: two values to a byte, window by window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headtail.errors import TensorError
from headtail.tensor import Array, TensorSpec, from_buffer, to_bytes
from headtail.wire import (
    INT4_MAX,
    INT4_MIN,
    Affine,
    Encoding,
    calibrate,
    can_carry,
    decode,
    encode,
    wire_specs,
)

ml_dtypes = pytest.importorskip("ml_dtypes", reason="comes with onnx, of the optimizer's extra")
onnx = pytest.importorskip("onnx", reason="needs the optimizer's extra")

INT4 = Encoding.INT4
UNIT = Affine(1.0, 0)  # a stored value stands for itself
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=7)
FINITE = st.floats(-1e6, 1e6, width=32)
STORED = SHAPES.flatmap(lambda shape: hnp.arrays(np.int8, shape, elements=st.integers(-8, 7)))


def spec_of(shape: tuple[int, ...], is_batchable: bool) -> TensorSpec:
    """Return the spec of a tensor of this shape; where batchable, the first axis is open."""
    return TensorSpec("a", "float32", (-1, *shape[1:]) if is_batchable else shape)


def packed_bit_by_bit(windows: Array) -> list[bytes]:
    """Return each row's values as a string of bits, four a value, cut into bytes."""
    packed = []
    for window in windows:
        nibbles = [f"{int(v) & 15:04b}" for v in window.reshape(-1)]
        nibbles += ["0000"] * (len(nibbles) % 2)
        pairs = zip(nibbles[::2], nibbles[1::2], strict=True)
        packed.append(bytes(int(second + first, 2) for first, second in pairs))
    return packed


@given(STORED, st.booleans())
def test_packing_is_that_of_the_slow_reference(stored: Array, is_batchable: bool) -> None:
    """Row after row where the first axis counts windows, all as one otherwise."""
    wire = encode(stored.astype(np.float32), INT4, UNIT, is_batchable)
    rows = packed_bit_by_bit(stored if is_batchable else stored[None])
    assert [r.tobytes() for r in (wire if is_batchable else wire[None])] == rows
    spec = spec_of(stored.shape, is_batchable)
    (travels,) = wire_specs([spec], INT4)
    travels.check(wire, "wire")
    assert travels.window_bytes == (spec.window_values + 1) // 2 == len(rows[0])


@given(STORED, st.booleans())
def test_what_is_packed_comes_back(stored: Array, is_batchable: bool) -> None:
    """For every shape, odd numbers of values included, through the bytes of a message."""
    spec = spec_of(stored.shape, is_batchable)
    wire = encode(stored.astype(np.float32), INT4, UNIT, is_batchable)
    received = from_buffer(to_bytes(wire), wire_specs([spec], INT4)[0], wire.shape)
    back = decode(received, spec, UNIT)
    np.testing.assert_array_equal(stored, back)
    spec.check(back, "decoded")


@given(hnp.arrays(np.int8, st.integers(1, 33), elements=st.integers(-8, 7)))
def test_packing_is_onnx_s(stored: Array) -> None:
    """The bytes are those of an ONNX tensor of type INT4, and ONNX reads ours."""
    wire = encode(stored.astype(np.float32), INT4, UNIT, is_batchable=False)
    tensor = onnx.numpy_helper.from_array(stored.astype(ml_dtypes.int4))
    assert onnx.TensorProto.INT4 == tensor.data_type
    assert tensor.raw_data == wire.tobytes()
    ours = onnx.helper.make_tensor(
        "a", onnx.TensorProto.INT4, [stored.size], wire.tobytes(), raw=True
    )
    np.testing.assert_array_equal(stored, onnx.numpy_helper.to_array(ours).astype(np.int8))


@given(hnp.arrays(np.float32, SHAPES, elements=FINITE))
def test_error_is_at_most_half_a_step_inside_the_range(array: Array) -> None:
    """What the stored values span comes back within half a step; beyond, the nearest end."""
    affine = calibrate(array, INT4)
    back = decode(encode(array, INT4, affine), spec_of(array.shape, True), affine)
    low, high = (affine.scale * (q - affine.zero_point) for q in (INT4_MIN, INT4_MAX))
    nearest = np.clip(array.astype(np.float64), low, high)
    assert np.abs(back - nearest).max() <= affine.scale * 0.5001 + np.abs(array).max() * 1e-6
    # The zero point is rounded, so an end of the range lies at most half a step outside.
    assert np.abs(nearest - array).max() <= affine.scale * 0.5001 + np.abs(array).max() * 1e-6


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 9))), st.data())
def test_every_byte_encodes_to_itself(packed: Array, data: st.DataObject) -> None:
    """encode(decode(bytes)) are the bytes: what the fog sees is what the edge meant."""
    affine = Affine(data.draw(st.floats(1e-6, 1e3)), data.draw(st.integers(INT4_MIN, INT4_MAX)))
    spec = TensorSpec("a", "float32", (-1, 2 * packed.shape[1]))
    again = encode(decode(packed, spec, affine), INT4, affine)
    np.testing.assert_array_equal(packed, again)


def test_int4_equals_the_hand_calculation() -> None:
    """-1..4 over 15 steps: scale 1/3, zero point -5; stored -8 -5 7 | -2 7 -8."""
    values = np.array([[-1.0, 0.0, 4.0], [1.0, 99.0, -99.0]], np.float32)
    affine = calibrate(values[0], INT4)
    assert affine.scale == pytest.approx(1 / 3)
    assert -5 == affine.zero_point
    wire = encode(values, INT4, affine)
    assert [[0xB8, 0x07], [0x7E, 0x08]] == wire.tolist()
    back = decode(wire, TensorSpec("a", "float32", (-1, 3)), affine)
    np.testing.assert_allclose([[-1, 0, 4], [1, 4, -1]], back, rtol=1e-6)


def test_what_fills_the_last_byte_is_not_looked_at() -> None:
    spec = TensorSpec("a", "float32", (3,))
    full = decode(np.array([0x21, 0xF3], np.uint8), spec, UNIT)
    assert [1, 2, 3] == full.tolist()


@pytest.mark.parametrize("values", [1, 48, 187, 1024, 1025, 1026, 4097])
def test_small_and_large_windows_are_packed_alike(values: int) -> None:
    """Looked up or worked out: the same bytes, and 48 values take 24."""
    stored = np.random.default_rng(values).integers(-8, 8, (3, values)).astype(np.int8)
    wire = encode(stored.astype(np.float32), INT4, UNIT)
    assert packed_bit_by_bit(stored) == [row.tobytes() for row in wire]
    assert wire.shape == (3, (values + 1) // 2)
    back = decode(wire, TensorSpec("a", "float32", (-1, values)), UNIT)
    np.testing.assert_array_equal(stored, back)


@pytest.mark.parametrize(
    ("shape", "packed"),
    [
        ((-1, 16, 3), (-1, 24)), ((-1, 5), (-1, 3)), ((16, 3), (24,)), ((1, 5), (3,)), ((), (1,)),
        ((-1,), (-1, 1)),
    ],
)  # fmt: skip
def test_wire_specs_say_what_travels(shape: tuple[int, ...], packed: tuple[int, ...]) -> None:
    spec = TensorSpec("a", "float32", shape)
    ids = TensorSpec("ids", "int64", (-1, 2))
    assert (TensorSpec("a", "uint8", packed), ids) == wire_specs([spec, ids], INT4)
    array = np.full(spec.window_shape, 3, np.float32)
    wire = encode(array, INT4, UNIT, spec.is_batchable)
    wire_specs([spec], INT4)[0].check(wire, "wire")
    np.testing.assert_array_equal(array, decode(wire, spec, UNIT))


def test_open_axes_cannot_be_packed() -> None:
    """Of a window of any length the bytes do not say how long it is."""
    spec = TensorSpec("a", "float32", (-1, -1, 3))
    assert not can_carry(INT4, [spec])
    assert can_carry(Encoding.INT8, [spec])
    assert can_carry(INT4, [TensorSpec("ids", "int64", (-1, -1))])
    with pytest.raises(ValueError, match=r"int4 needs every axis but the batch's fixed, not 'a'"):
        wire_specs([spec], INT4)


@given(
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=5),
    st.binary(max_size=80),
    st.lists(st.integers(-2, 9), max_size=3),
)
def test_what_was_not_packed_so_is_refused(
    shape: tuple[int, ...], content: bytes, stated: list[int]
) -> None:
    """Bytes of any number under any shape: a tensor of the spec's shape, or a TensorError."""
    spec = spec_of(shape, True)
    (travels,) = wire_specs([spec], INT4)
    try:
        received = from_buffer(content, travels, stated)
    except TensorError:
        return
    assert [len(content) // travels.window_bytes, travels.window_bytes] == stated
    back = decode(received, spec, UNIT)
    spec.check(back, "decoded")
