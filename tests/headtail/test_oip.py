"""Messages by hand against the generated classes, which say what is right."""

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
    RAW_OUTPUT_FIELD,
    WALK_FROM_BYTES,
    InferRequest,
    InferWriter,
    read_request,
    read_response,
    read_stream_response,
    write_stream_error,
)
from headtail.tensor import OIP_DATATYPES, TensorSpec
from oip_oracle import FIELDS, expected_request

TEXT = st.text(max_size=12)
PARAMETER = st.one_of(
    st.booleans().map(lambda v: {"bool_param": v}),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: {"int64_param": v}),
    TEXT.map(lambda v: {"string_param": v}),
    st.floats(allow_nan=False).map(lambda v: {"double_param": v}),
    st.integers(0, 2**64 - 1).map(lambda v: {"uint64_param": v}),
    st.just({}),
)
PARAMETERS = st.dictionaries(TEXT, PARAMETER, max_size=3)
CONTENTS = st.one_of(
    st.tuples(st.just("FP32"), st.lists(st.floats(width=32), min_size=1, max_size=4)),
    st.tuples(st.just("INT8"), st.lists(st.integers(-128, 127), min_size=1, max_size=4)),
    st.tuples(st.just("UINT16"), st.lists(st.integers(0, 65535), min_size=1, max_size=4)),
    st.tuples(st.just("BOOL"), st.lists(st.booleans(), min_size=1, max_size=4)),
    st.tuples(st.just("INT64"), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4)),
)
SHAPE = st.lists(st.integers(-1, 2**40), max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> ModelInferRequest:
    """Draw a request in any of the forms the protocol allows, and some it does not."""
    message = ModelInferRequest(model_name=draw(TEXT), model_version=draw(TEXT), id=draw(TEXT))
    for name, parameter in draw(PARAMETERS).items():
        message.parameters[name].SetInParent()
        for kind, value in parameter.items():
            setattr(message.parameters[name], kind, value)
    for _ in range(draw(st.integers(0, 3))):
        tensor = message.inputs.add(name=draw(TEXT), datatype=draw(TEXT), shape=draw(SHAPE))
        if draw(st.booleans()) and draw(st.booleans()):
            tensor.datatype, values = draw(CONTENTS)
            getattr(tensor.contents, FIELDS[tensor.datatype][0]).extend(values)
    message.outputs.extend(
        ModelInferRequest.InferRequestedOutputTensor(name=n)
        for n in draw(st.lists(TEXT, max_size=2))
    )
    raw_count = draw(st.sampled_from([0, len(message.inputs), len(message.inputs), 1]))
    message.raw_input_contents.extend(
        draw(st.lists(st.binary(max_size=300), min_size=raw_count, max_size=raw_count))
    )
    return message


def read_or_none(data: bytes, walk_from: int) -> InferRequest | None:
    """Return what our reader reads, or None where it refuses."""
    try:
        return read_request(data, walk_from)
    except RequestInvalid:
        return None


def assert_alike(data: bytes) -> None:
    """Check that walking by hand, and not walking, read what the generated class reads."""
    expected = expected_request(data)
    for walk_from in (0, WALK_FROM_BYTES):
        received = read_or_none(data, walk_from)
        if expected is None and received is not None:
            # Damage can name a datatype that this oracle does not know.
            assert any(t.datatype not in FIELDS for t in received.inputs)
        else:
            assert expected == received


@given(requests())
def test_request_reads_as_the_generated_class_reads_it(message: ModelInferRequest) -> None:
    """Raw or typed, complete or contradictory: both agree on the content or refuse."""
    assert_alike(message.SerializeToString())


@given(requests(), requests())
def test_fields_in_any_order_read_alike(
    first: ModelInferRequest, second: ModelInferRequest
) -> None:
    """Two messages end to end are one message whose headers follow its tensors."""
    assert_alike(first.SerializeToString() + second.SerializeToString())


@given(requests(), st.data())
def test_damaged_request_is_read_alike_or_refused(
    message: ModelInferRequest, data: st.DataObject
) -> None:
    """A cut, changed or inserted byte never raises anything but RequestInvalid."""
    content = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        action = data.draw(st.sampled_from(["cut", "change", "insert"]))
        byte = data.draw(st.integers(0, 255))
        if action == "cut":
            del content[at:]
        elif action == "insert" or at == len(content):
            content.insert(at, byte)
        else:
            content[at] = byte
    assert_alike(bytes(content))


@given(st.binary(max_size=60))
def test_noise_is_read_alike_or_refused(noise: bytes) -> None:
    """Bytes that are no message at all are refused where the generated class refuses them."""
    assert_alike(noise)


@given(
    st.dictionaries(
        TEXT,
        st.one_of(
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            TEXT,
            st.floats(allow_nan=False),
        ),
        max_size=4,
    ),
    TEXT,
    st.integers(1, 300),
)
def test_written_request_is_what_the_generated_class_writes(
    parameters: dict[str, bool | int | float | str], request_id: str, batch: int
) -> None:
    """Every parameter type, and lengths that need one or more varint bytes."""
    specs = (TensorSpec("a", "float32", (-1, 2)), TensorSpec("b", "int8", ()))
    arrays = [np.arange(batch * 2, dtype=np.float32).reshape(batch, 2), np.array(-3, np.int8)]
    writer = InferWriter("m-tail1-int8", "1.0", specs, RAW_INPUT_FIELD)
    message = ModelInferRequest.FromString(writer.write(request_id, parameters, arrays))
    assert (message.model_name, message.model_version) == ("m-tail1-int8", "1.0")
    assert message.id == request_id
    assert expected_request(message.SerializeToString()).parameters == parameters
    assert [(t.name, t.datatype, list(t.shape)) for t in message.inputs] == [
        ("a", "FP32", [batch, 2]),
        ("b", "INT8", []),
    ]
    assert list(message.raw_input_contents) == [a.tobytes() for a in arrays]


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("walk_from", [0, WALK_FROM_BYTES])
def test_written_response_reads_back(dtype: str, is_stream: bool, walk_from: int) -> None:
    """A response survives, alone and on the stream, in every dtype."""
    writer = InferWriter("m", "2", (TensorSpec("y", dtype, (-1, 3)),), RAW_OUTPUT_FIELD)
    array = np.arange(6).reshape(2, 3).astype(dtype)
    arguments = ("7", {"queue_ns": 5, "compute_ns": 2**40}, [array])
    if is_stream:
        response = read_stream_response(writer.write_stream_response(*arguments), walk_from)
    else:
        response = read_response(writer.write(*arguments), walk_from)
    assert response.error == ""
    assert (response.model, response.version, response.id) == ("m", "2", "7")
    assert response.parameters == {"queue_ns": 5, "compute_ns": 2**40}
    assert [(t.name, t.datatype, t.shape) for t in response.outputs] == [
        ("y", OIP_DATATYPES[dtype], (2, 3))
    ]
    assert bytes(response.outputs[0].content) == array.tobytes()


def test_stream_response_is_read_by_the_generated_class() -> None:
    """What we write on the stream is what any other client expects."""
    writer = InferWriter("m", "", (TensorSpec("y", "float32", (-1, 100)),), RAW_OUTPUT_FIELD)
    array = np.ones((1, 100), np.float32)
    message = ModelStreamInferResponse.FromString(writer.write_stream_response("7", {}, [array]))
    assert message.infer_response.id == "7"
    assert list(message.infer_response.raw_output_contents) == [array.tobytes()]


def test_large_raw_tensors_are_views_of_the_message() -> None:
    """No large tensor is copied on the way in."""
    writer = InferWriter("m", "", (TensorSpec("x", "float32", (-1, 4)),), RAW_INPUT_FIELD)
    data = writer.write("1", {}, [np.ones((2048, 4), np.float32)])
    content = read_request(data).inputs[0].content
    assert isinstance(content, memoryview)
    assert content.obj is data


def test_stream_error_names_request_and_parameters() -> None:
    """An error on the stream carries its text, the id and the parameters, and no tensor."""
    data = write_stream_error("9", "too much", {"status": "RESOURCE_EXHAUSTED"})
    message = ModelStreamInferResponse.FromString(data)
    assert message.error_message == "too much"
    assert message.infer_response == ModelInferResponse(
        id="9", parameters={"status": {"string_param": "RESOURCE_EXHAUSTED"}}
    )
    response = read_stream_response(data)
    assert (response.error, response.id) == ("too much", "9")


@pytest.mark.parametrize("reader", [read_response, read_stream_response])
def test_malformed_response_is_refused(reader) -> None:
    """Noise from a server is an error of ours, not of protobuf."""
    with pytest.raises(RequestInvalid, match=r"(?i)response"):
        reader(b"\x12\x05abc")


def test_raw_and_typed_contents_together_are_refused() -> None:
    """The protocol allows one or the other."""
    message = ModelInferRequest(raw_input_contents=[b"1234"])
    message.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)
    with pytest.raises(RequestInvalid, match=r"input 'x'.*both raw and typed contents"):
        read_request(message.SerializeToString())


def test_value_outside_its_datatype_is_refused() -> None:
    """INT8 travels in an int32 field, which holds more."""
    message = ModelInferRequest()
    message.inputs.add(name="x", datatype="INT8", shape=[1]).contents.int_contents.append(300)
    with pytest.raises(RequestInvalid, match="a value does not fit INT8"):
        read_request(message.SerializeToString())


@pytest.mark.parametrize("rows", [1, 10, 1000, 70_000])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_parts_are_the_message(rows, count):
    """The second is a view of the last array where that is large."""
    specs = tuple(TensorSpec(name, "float32", (-1, 4)) for name in "ab"[:count])
    writer = InferWriter("m", "1", specs, RAW_INPUT_FIELD, {"agent": "edge"})
    arrays = [np.full((rows, 4), i, np.float32) for i in range(count)]
    expected = writer.write("1", {"deadline_ms": 5}, arrays)
    content, body = writer.write_parts("1", {"deadline_ms": 5}, arrays)
    assert expected == content + bytes(body)
    is_large = count > 0 and rows >= 1000
    assert is_large == (len(body) > 0)
    if is_large:
        assert np.shares_memory(np.frombuffer(body, np.uint8), arrays[-1])
