"""Messages cut up by a layout say what the generated classes say, whatever came before them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import RequestInvalid
from headtail.inference.grpc_service_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from headtail.oip import (
    RAW_INPUT_FIELD,
    InferRequest,
    InferWriter,
    read_request,
    read_stream_response,
)
from headtail.oip_layout import Layouts
from headtail.tensor import TensorSpec

SPECS = (TensorSpec("a", "int8", (-1, 4)), TensorSpec("b", "float32", ()))
ARRAYS = [np.arange(4, dtype=np.int8).reshape(1, 4), np.array(2.5, np.float32)]


def written(message_id: str, sequences: str, deadline_ms: int) -> bytes:
    """Return a request as an agent writes it."""
    writer = InferWriter("m-tail1-int8", "1", SPECS, RAW_INPUT_FIELD, {"agent": "seven"})
    return writer.write(message_id, {"sequences": sequences, "deadline_ms": deadline_ms}, ARRAYS)


def parsed(data: bytes) -> InferRequest | None:
    """Return what the reader says that looks at no layout, with its tensors as bytes."""
    try:
        request = read_request(data, 0)
    except RequestInvalid:
        return None
    return request


def read(data: bytes) -> InferRequest | None:
    """Return what the reader says, which may know a layout."""
    try:
        return read_request(data)
    except RequestInvalid:
        return None


def test_a_message_like_one_before_is_not_parsed() -> None:
    """Id, sequences, deadline and tensors may differ, as long as no length does."""
    layouts: Layouts[InferRequest] = Layouts(RAW_INPUT_FIELD)
    first, second = written("s/10", "10", 4000), written("s/11", "11", 3999)
    request = read_request(first, 0)
    assert layouts.read(first) is None
    layouts.learn(first, 0, request, request.inputs)
    found = layouts.read(second)
    assert found is not None
    expected = read_request(second, 0)
    assert found[1:] == (expected.id, expected.parameters, expected.inputs)
    assert layouts.read(written("s/9", "9", 4000)) is None
    assert layouts.read(written("s/10", "10", 4000).replace(b"tail1", b"tail2")) is None


@given(st.data())
def test_changed_bytes_read_alike_after_one_like_it(data: st.DataObject) -> None:
    """A message that keeps its size but not its sense is parsed, and read or refused alike."""
    numbers = data.draw(st.integers(10, 99)), data.draw(st.integers(128, 16383))
    content = bytearray(written(f"s/{numbers[0]}", str(numbers[0]), numbers[1]))
    read(bytes(content))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        assert parsed(bytes(content)) == read(bytes(content))


PARAMETER = st.sampled_from(
    [
        {"bool_param": True},
        {"int64_param": 3},
        {"int64_param": 300},
        {"int64_param": -1},
        {"string_param": "one"},
        {"string_param": ""},
        {"double_param": 0.5},
        {"uint64_param": 2**63},
        {},
    ]
)


@st.composite
def messages(draw: st.DrawFn, kind: type) -> bytes:
    """Draw a message of few sizes, so that many share one, sometimes with fields twice."""
    message = kind(model_name="m", id=draw(st.sampled_from(["", "1", "2", "é"])))
    for name in draw(st.lists(st.sampled_from("ab"), unique=True, max_size=2)):
        message.parameters[name].SetInParent()
        for choice, value in draw(PARAMETER).items():
            setattr(message.parameters[name], choice, value)
    tensors, raw = (
        (message.inputs, message.raw_input_contents)
        if kind is ModelInferRequest
        else (message.outputs, message.raw_output_contents)
    )
    for _ in range(draw(st.integers(0, 2))):
        tensors.add(name=draw(st.sampled_from("xy")), datatype="INT8", shape=[1])
        raw.append(draw(st.binary(min_size=1, max_size=1)))
    content = message.SerializeToString()
    if draw(st.booleans()):
        content += draw(
            st.sampled_from([b"\x1a\x011", b"\x22\x07\x0a\x01a\x12\x02\x10\x05", b"\x78\x01"])
        )
    return content


@given(st.lists(messages(ModelInferRequest), min_size=1, max_size=4), st.data())
def test_any_order_of_messages_reads_alike(several: list[bytes], data: st.DataObject) -> None:
    """Fields that come twice, parameters of every type, ids of several bytes."""
    for content in several:
        changed = bytearray(content)
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        for one in (content, bytes(changed), content):
            assert parsed(one) == read(one)


@given(st.lists(messages(ModelInferResponse), min_size=1, max_size=4), st.sampled_from(["", "no"]))
def test_stream_responses_read_alike(several: list[bytes], error: str) -> None:
    """Answers and errors in turn, against a reader that has nothing learned."""
    for content in several:
        inner = ModelInferResponse.FromString(content)
        outer = ModelStreamInferResponse(error_message=error, infer_response=inner)
        one = outer.SerializeToString()
        for _ in range(2):
            response = read_stream_response(one)
            assert (response.error, response.id) == (error, inner.id)
            assert list(response.parameters) == [
                n for n, p in inner.parameters.items() if p.WhichOneof("parameter_choice")
            ]
            assert [bytes(t.content) for t in response.outputs] == list(inner.raw_output_contents)


@pytest.mark.parametrize("count", [1, 200])
def test_what_is_kept_is_bounded(count: int) -> None:
    """Messages of ever new sizes push older layouts out."""
    layouts: Layouts[InferRequest] = Layouts(RAW_INPUT_FIELD)
    for size in range(count):
        data = written("x" * (size + 1), "1", 500)
        request = read_request(data, 0)
        layouts.learn(data, 0, request, request.inputs)
        assert layouts.read(data) is not None
    assert layouts.count <= 128
    large = written("x" * 5000, "1", 500)
    layouts.learn(large, 0, request, request.inputs)
    assert layouts.read(large) is None
