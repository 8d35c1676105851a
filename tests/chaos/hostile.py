"""Malformed requests of the Open Inference Protocol, drawn from a seeded generator.

Each maker takes a generator and returns the bytes of a ModelInferRequest that no server should
answer with outputs, or is asked to damage a good one at random.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from headtail.inference.grpc_service_pb2 import ModelInferRequest
from headtail.tensor import OIP_DATATYPES

Make = Callable[[np.random.Generator], bytes]
TAIL, INPUT, SHAPE = "chain-tail1-float32", "a", (4, 8)
_HUGE = (2**31, 2**40, 2**62, 2**63 - 1)


T = TypeVar("T")


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Return one of `choices` as it is; NumPy's own choice would cut NULs off texts."""
    return choices[int(rng.integers(len(choices)))]


def good(rng: np.random.Generator, windows: int = 1) -> ModelInferRequest:
    """Return a request that a fog with the test bundle answers."""
    values = rng.standard_normal((windows, *SHAPE)).astype(np.float32)
    message = ModelInferRequest(model_name=TAIL, model_version="1.0.0", id=str(rng.integers(1e9)))
    message.inputs.add(name=INPUT, datatype="FP32", shape=values.shape)
    message.raw_input_contents.append(values.tobytes())
    message.parameters["deadline_ms"].int64_param = 1000
    return message


def noise(rng: np.random.Generator) -> bytes:
    """Bytes that mean nothing."""
    return rng.bytes(int(rng.integers(1, 400)))


def truncated(rng: np.random.Generator) -> bytes:
    """A good request that ends early."""
    data = good(rng).SerializeToString()
    return data[: int(rng.integers(1, len(data)))]


def damaged(rng: np.random.Generator) -> bytes:
    """A good request with some bytes changed; now and then that does not matter."""
    data = bytearray(good(rng).SerializeToString())
    for at in rng.integers(0, min(len(data), 80), int(rng.integers(1, 6))):
        data[at] = int(rng.integers(0, 256))
    return bytes(data)


def long_length(rng: np.random.Generator) -> bytes:
    """A field that claims more bytes than there are, or a varint that never ends."""
    claim = [b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\x0f", b"\xff" * 11, b"\x80" * 9 + b"\x01"]
    tag = bytes([int(rng.integers(1, 16)) << 3 | 2])
    return good(rng).SerializeToString() + tag + pick(rng, claim) + b"x"


def wrong_shape(rng: np.random.Generator) -> bytes:
    """Axes that are negative, absurd, too many, or simply others."""
    message = good(rng)
    sizes = [-1, -(2**63), 0, 1, 2, 7, *_HUGE]
    del message.inputs[0].shape[:]
    message.inputs[0].shape.extend(
        pick(rng, sizes) for _ in range(pick(rng, [0, 1, 2, 4, 100, 2000]))
    )
    return message.SerializeToString()


def wrong_size(rng: np.random.Generator) -> bytes:
    """Contents that are not as long as the shape says."""
    message = good(rng)
    message.raw_input_contents[0] = rng.bytes(pick(rng, [0, 1, 127, 129, 4096, 65536]))
    return message.SerializeToString()


def too_many_windows(rng: np.random.Generator) -> bytes:
    """More windows than a request may hold, all there."""
    return good(rng, 257).SerializeToString()


def wrong_datatype(rng: np.random.Generator) -> bytes:
    """A datatype that is another, unknown, or a long text."""
    message = good(rng)
    names = [n for n in OIP_DATATYPES.values() if n != "FP32"]
    message.inputs[0].datatype = pick(rng, [*names, "BYTES", "", "FP32\0", "X" * 5000])
    return message.SerializeToString()


def wrong_inputs(rng: np.random.Generator) -> bytes:
    """Inputs that are missing, repeated, foreign, or a great many."""
    message = good(rng)
    kind = rng.integers(4)
    if kind == 0:
        del message.inputs[:]
    elif kind == 1:
        message.inputs[0].name = pick(rng, ["", "b", "a\n", "../a", "A" * 10_000])
    else:
        for _ in range(1 if kind == 2 else 500):
            message.inputs.add().CopyFrom(message.inputs[0])
            message.raw_input_contents.append(message.raw_input_contents[0])
    return message.SerializeToString()


def wrong_model(rng: np.random.Generator) -> bytes:
    """A model or version that is not served."""
    message = good(rng)
    names = [
        "",
        "chain-tail9-float32",
        "../../etc/passwd",
        "chain-tail1-int4",
        "\u202e",
        "m" * 10_000,
    ]
    if rng.integers(2):
        message.model_name = pick(rng, names)
    else:
        message.model_version = pick(rng, ["9", "1.0.0.0.0", "-1", "latest", "1" * 5000])
    return message.SerializeToString()


def wrong_parameters(rng: np.random.Generator) -> bytes:
    """A deadline that is no number, or has passed."""
    message = good(rng)
    parameter = message.parameters["deadline_ms"]
    kind = rng.integers(4)
    if kind == 0:
        parameter.string_param = pick(rng, ["soon", "", "1e9"])
    elif kind == 1:
        parameter.bool_param = True
    elif kind == 2:
        parameter.double_param = pick(rng, [np.nan, np.inf, 1.0])
    else:
        parameter.int64_param = pick(rng, [0, -1, -(2**63)])
    for i in range(pick(rng, [0, 0, 100])):
        message.parameters[f"x{i}"].int64_param = i
    return message.SerializeToString()


def both_contents(rng: np.random.Generator) -> bytes:
    """Raw and typed contents at once, or typed ones of another length."""
    message = good(rng)
    message.inputs[0].contents.fp32_contents.extend([0.5] * pick(rng, [1, 31, 33]))
    if rng.integers(2):
        del message.raw_input_contents[:]
    return message.SerializeToString()


def wrong_outputs(rng: np.random.Generator) -> bytes:
    """Outputs that the model does not have."""
    message = good(rng)
    for _ in range(pick(rng, [1, 200])):
        message.outputs.add(name=pick(rng, ["z", "", "y\0", "a"]))
    return message.SerializeToString()


def nested(rng: np.random.Generator) -> bytes:
    """Groups inside groups, past the depth that a parser allows."""
    return b"\x7b" * int(rng.integers(100, 5000)) + good(rng).SerializeToString()


def large(rng: np.random.Generator) -> bytes:
    """A large message of nonsense, which the reader walks by hand."""
    return (
        good(rng).SerializeToString()
        + b"\x3a\x80\x80\x04"
        + bytes(65536 + int(rng.integers(-9, 9)))
    )


def heavy(rng: np.random.Generator) -> bytes:
    """Megabytes of fields of two bytes, each of which would become an object."""
    return pick(rng, [b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x22\x00"]) * (4 << 20)


MAKERS: Sequence[Make] = (
    noise, truncated, damaged, long_length, wrong_shape, wrong_size, wrong_datatype, wrong_inputs,
    wrong_model, wrong_parameters, both_contents, wrong_outputs, nested,
)  # fmt: skip
BULKY: Sequence[Make] = (too_many_windows, large)
"""Rarer: each costs a hundred times the bytes."""
BULKY_SHARE = 0.01


def draw(rng: np.random.Generator, count: int) -> list[bytes]:
    """Return so many malformed requests of every kind."""
    return [pick(rng, BULKY if b else MAKERS)(rng) for b in rng.random(count) < BULKY_SHARE]
