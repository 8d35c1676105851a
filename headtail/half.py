"""float16 there and back: many values by onnxruntime, whose casts use what the processor has.

NumPy casts one value after another: 64 Ki of them take 20 times as long. Both round to the nearest,
ties to even (IEEE 754), so which of them casts changes no bit.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from headtail.protobuf import VARINT, field, text, varint
from headtail.tensor import Array

_LIMIT = np.float32(np.finfo(np.float16).max)
_FEW = 2048  # values; up to here NumPy is at least as fast (measured)
# The bits of infinity, and of it below zero: as integers what is not finite is the largest.
_INFINITE, _NEGATIVE = 0x7C00, 0xFC00
_FLOAT, _FLOAT16 = 1, 10  # TensorProto.DataType
_IR_VERSION, _OPSET = 8, 17


def to_half(array: Array) -> Array:
    """Return float32 values as float16, what is beyond its range cut off at its ends; NaN stays."""
    if array.size > _FEW and (cast := _caster(_FLOAT, _FLOAT16)) is not None:
        half = cast(array)
        if half.view(np.int16).max() < _INFINITE and half.view(np.uint16).max() < _NEGATIVE:
            return half
    return np.clip(array, -_LIMIT, _LIMIT).astype(np.float16)


def from_half(array: Array) -> Array:
    """Return float16 values as float32."""
    if array.size > _FEW and (cast := _caster(_FLOAT16, _FLOAT)) is not None:
        return cast(array)
    return array.astype(np.float32)


@lru_cache(2)
def _caster(source: int, target: int) -> Callable[[Array], Array] | None:
    """Return what casts arrays of one type to another; None without onnxruntime."""
    try:
        import onnxruntime as ort

        from headtail.onnx_call import direct_run
    except ImportError:
        return None
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = ort.InferenceSession(_graph(source, target), settings, providers=providers)
    run = direct_run(session)

    def cast(array: Array) -> Array:
        values = np.ascontiguousarray(array).reshape(-1)
        (result,) = run(["y"], {"x": values})
        return np.asarray(result).reshape(array.shape)

    return cast


def _graph(source: int, target: int) -> bytes:
    """Return the ONNX model y = Cast(x) of one axis of any length.

    Source: field numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
    """
    to = text(1, "to") + _number(3, target) + _number(20, 2)  # an attribute of type INT
    node = text(1, "x") + text(2, "y") + text(4, "Cast") + field(5, to)
    graph = field(1, node) + text(2, "cast") + field(11, _value("x", source))
    graph += field(12, _value("y", target))
    return _number(1, _IR_VERSION) + field(7, graph) + field(8, _number(2, _OPSET))


def _value(name: str, kind: int) -> bytes:
    shape = field(1, text(2, "N"))
    return text(1, name) + field(2, field(1, _number(1, kind) + field(2, shape)))


def _number(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)
