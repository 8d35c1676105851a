"""Decoding as nodes of a graph: the values that one works out by hand."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from headtail.bundle.manifest import WireEncoding
from headtail.tensor import Array, TensorSpec
from headtail.wire import Affine, Encoding
from optimizer.export_triton.graph import decoders

SCALE, ZERO_POINT = 0.375, -5
TYPES = {np.dtype("f2"): TensorProto.FLOAT16, np.dtype("i1"): TensorProto.INT8,
         np.dtype("u1"): TensorProto.UINT8}  # fmt: skip


def decoded(spec: TensorSpec, encoding: Encoding, travelling: Array) -> Array:
    """Return what onnxruntime makes of a tensor as it travels."""
    affine = {spec.name: Affine(SCALE, ZERO_POINT)}
    nodes, constants = decoders([spec], WireEncoding(encoding, 0, affine))
    graph = helper.make_graph(
        nodes,
        "decode",
        [helper.make_tensor_value_info("a", TYPES[travelling.dtype], None)],
        [helper.make_tensor_value_info("a/decoded", TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"a": travelling})[0]


def by_hand(byte: int) -> tuple[float, float]:
    """Return the real values of a byte's low and high four bits."""
    low, high = (n - 16 if n > 7 else n for n in (byte & 15, byte >> 4))
    return (low - ZERO_POINT) * SCALE, (high - ZERO_POINT) * SCALE


@pytest.mark.parametrize(("shape", "size"), [((-1, 3, 5), 8), ((-1, 4, 2), 4), ((-1, 1), 1)])
def test_int4_of_several_windows(shape, size):
    """Of an odd number of values the last four bits of each row say nothing."""
    rows = np.random.default_rng(1).integers(0, 256, (6, size), dtype=np.uint8)
    values = int(np.prod(shape[1:]))
    expected = [[v for byte in row for v in by_hand(int(byte))][:values] for row in rows]
    actual = decoded(TensorSpec("a", "float32", shape), Encoding.INT4, rows)
    np.testing.assert_array_equal(
        np.array(expected, np.float32).reshape(6, *shape[1:]), actual, strict=True
    )


def test_int4_of_the_documented_window():
    """The bytes of docs/wire.md: -1, 0, 4 at scale 1/3 travel as b8 07; here the scale is ours."""
    spec = TensorSpec("a", "float32", (3,))
    actual = decoded(spec, Encoding.INT4, np.array([0xB8, 0x07], np.uint8))
    stored = np.array([-8, -5, 7], np.float32)
    np.testing.assert_array_equal((stored + 5) * np.float32(SCALE), actual, strict=True)


def test_int8_is_scaled_from_its_zero_point():
    every = np.arange(-128, 128, dtype=np.int8).reshape(-1, 2)
    actual = decoded(TensorSpec("a", "float32", (-1, 2)), Encoding.INT8, every)
    expected = np.array([[(int(v) - ZERO_POINT) * SCALE for v in row] for row in every], "f4")
    np.testing.assert_array_equal(expected, actual, strict=True)


def test_float16_is_widened():
    some = np.array([[1.5, -65504.0], [2.0**-24, 0.0]], np.float16)
    actual = decoded(TensorSpec("a", "float32", (-1, 2)), Encoding.FLOAT16, some)
    np.testing.assert_array_equal(some.astype(np.float32), actual, strict=True)
