"""Damaged requests and answers: refused in our words, in little time and memory."""

import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import strategies as st

from edge_agent.plan import choose_plan
from edge_agent.tail_codec import TailCodec
from fog_server.tail import tails
from fuzzing import damaged, fuzz
from headtail.bundle import Bundle
from headtail.errors import HeadtailError, RequestInvalid
from headtail.inference.grpc_service_pb2 import ModelInferRequest, ModelStreamInferResponse
from headtail.oip import (
    RAW_INPUT_FIELD,
    RAW_OUTPUT_FIELD,
    InferWriter,
    read_request,
    read_response,
    read_stream_response,
)
from headtail.segment import Chain
from headtail.tensor import TensorSpec

MAX_BYTES = 64 << 20
"""A refused message may cost this much beside itself; sixteen megabytes once cost 1.3 GB."""
MIB = 1 << 20


def good_request(size: int) -> bytes:
    """Return a request of about `size` bytes."""
    message = ModelInferRequest(model_name="chain", model_version="1.0.0", id="7")
    message.inputs.add(name="x", datatype="FP32", shape=[size // 4])
    message.parameters["deadline_ms"].int64_param = 100
    message.raw_input_contents.append(bytes(size))
    return message.SerializeToString()


WRITER = InferWriter("chain", "1.0.0", (TensorSpec("y", "float32", (-1, 3)),), RAW_OUTPUT_FIELD)
ANSWER = ("agent/7", {"queue_ns": 5, "compute_ns": 9}, [np.zeros((1, 3), np.float32)])
SMALL, LARGE = good_request(64), good_request(20_000)
RESPONSE, STREAM_RESPONSE = WRITER.write(*ANSWER), WRITER.write_stream_response(*ANSWER)


def check_request(data: st.DataObject) -> None:
    """Small messages are parsed whole, large ones walked."""
    with suppress(RequestInvalid):
        read_request(data.draw(damaged(data.draw(st.sampled_from([SMALL, LARGE])))))


def check_response(data: st.DataObject) -> None:
    for good, read in ((RESPONSE, read_response), (STREAM_RESPONSE, read_stream_response)):
        for walk_from in (0, 1 << 20):
            with suppress(RequestInvalid):
                read(data.draw(damaged(good)), walk_from)


def check_answer(bundle: Bundle, data: st.DataObject) -> None:
    """What the agent believes of an answer has the shape and dtype that the manifest says."""
    codec = TailCodec(choose_plan(bundle.manifest, "1", "float32"), "agent")
    with suppress(HeadtailError):
        response = read_stream_response(data.draw(damaged(STREAM_RESPONSE)))
        outputs = codec.outputs(response, 1)
        assert {"y": ((1, 3), np.float32)} == {n: (a.shape, a.dtype) for n, a in outputs.items()}


def check_packed(bundle: Bundle, data: st.DataObject) -> None:
    """What the fog unpacks has the activation's shape, or the request is refused in our words."""
    plan = choose_plan(bundle.manifest, "2", "int4")
    (tail,) = (t for t in tails(bundle.manifest, Chain(bundle)) if t.name == plan.tail_name)
    arrays = [np.full((3, *s.shape[1:]), 0x5A, np.uint8) for s in plan.wire_specs]
    writer = InferWriter(tail.name, tail.version, plan.wire_specs, RAW_INPUT_FIELD)
    good = writer.write("7", {"deadline_ms": 100}, arrays)
    with suppress(HeadtailError):
        activation = tail.decode(read_request(data.draw(damaged(good))).inputs, 256)
        for spec in plan.point.activation:
            spec.check(activation[spec.name], "activation")
        assert len({len(array) for array in activation.values()}) == 1


test_requests, test_requests_for_long = fuzz(check_request, data=st.data())
test_responses, test_responses_for_long = fuzz(check_response, data=st.data())
test_answers, test_answers_for_long = fuzz(check_answer, data=st.data())
test_packed, test_packed_for_long = fuzz(check_packed, data=st.data())


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field."""
    size, written = len(content), bytearray([number << 3 | 2])
    while size > 0x7F:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*written, size]) + content


@pytest.mark.parametrize(
    "message",
    [
        b"\x2a\x00" * (8 * MIB),
        b"\x2a\x00" * (MIB // 2 - 8),
        b"\x32\x00" * (MIB // 2 - 8),
        b"\x3a\x00" * (8 * MIB),
        b"".join(field(4, field(1, b"%x" % i) + b"\x12\x00") for i in range(60_000)),
        field(5, field(3, b"\x01" * (8 * MIB))),
        field(5, field(2, b"BOOL") + field(5, field(1, b"\x01" * (8 * MIB)))),
        good_request(64) * 20_000,
    ],
    ids=["inputs", "fewer", "outputs", "raw", "parameters", "shape", "contents", "again"],
)
def test_fields_that_multiply_in_memory_are_refused(message: bytes) -> None:
    """Two bytes can ask for an object of hundreds; a header is bounded before it is parsed."""
    tracemalloc.start()
    try:
        with pytest.raises(RequestInvalid):
            read_request(message)
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()


def test_answers_that_multiply_in_memory_are_refused() -> None:
    """The agent bounds what the fog sends as the fog bounds what the agent sends."""
    with pytest.raises(RequestInvalid):
        read_stream_response(b"\x12\x00" * (8 * MIB))
    message = ModelStreamInferResponse(error_message="x" * (2 * MIB))
    with pytest.raises(RequestInvalid):
        read_stream_response(message.SerializeToString())
