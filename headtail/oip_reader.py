"""Messages of the Open Inference Protocol v2 from bytes: small ones parsed, large tensors views.

A request is a header of some hundred bytes (fields 1 to 6) and the raw tensors (field 7); a
response ends in field 6 likewise. The generated classes copy every tensor twice. So of a large
message the reader walks the top-level fields by hand, gives the header to the generated class, and
takes the raw tensors as views. Before that the layout of a message like it is looked for. What is
unusual goes to the generated class whole.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError
from msgspec import structs

from headtail.compression import PARAMETER as COMPRESSION
from headtail.errors import RequestInvalid
from headtail.inference.grpc_service_pb2 import (
    InferParameter,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from headtail.oip_layout import Layouts
from headtail.oip_message import (
    NO_PARAMETERS,
    RAW_INPUT_FIELD,
    RAW_OUTPUT_FIELD,
    Buffer,
    Content,
    InferRequest,
    InferResponse,
    Parameter,
    Tensor,
)
from headtail.protobuf import LENGTH_DELIMITED
from headtail.tensor import OIP_DATATYPES

_RAW = {
    ModelInferRequest: (RAW_INPUT_FIELD, "raw_input_contents"),
    ModelInferResponse: (RAW_OUTPUT_FIELD, "raw_output_contents"),
}
_CACHED = 64  # headers kept; more only means that they are read again
_CACHED_BYTES = 256  # a tensor's header is smaller; one with contents is not worth keeping
# What a message may hold beside its raw tensors: a field of two bytes becomes hundreds in memory,
# so a hostile megabyte costs a hundred of them and a fraction of a second, and no more.
MAX_HEADER_BYTES = 1 << 20
MAX_ITEMS = 1024  # tensors, outputs wanted, or parameters of one message
MAX_FIELDS = 4 * MAX_ITEMS  # all of them and the names; what the reader walks is bounded by it
# Below this two copies are cheaper than a walk over the fields in Python, and than a view.
WALK_FROM_BYTES = 4 << 10
# InferTensorContents field -> dtype of its values, by datatype.
_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
_DTYPES = {datatype: dtype for dtype, datatype in OIP_DATATYPES.items()}
# What Triton's extensions make of an output: class names, or a place outside the message.
_OTHER_OUTPUTS = ("classification", "shared_memory_region")
TensorHeader = tuple[str, str, tuple[int, ...], bool]  # name, datatype, shape, has contents
Message = TypeVar("Message", ModelInferRequest, ModelInferResponse)
_requests: Layouts[InferRequest] = Layouts(RAW_INPUT_FIELD)
_responses: Layouts[InferResponse] = Layouts(RAW_OUTPUT_FIELD)


def read_request(data: Content, walk_from: int = WALK_FROM_BYTES) -> InferRequest:
    """Read a ModelInferRequest; the raw tensors of a large one are views of `data`.

    Args:
        data: The message.
        walk_from: Bytes from which a message is large; 0 also leaves the layouts aside.

    Raises:
        RequestInvalid: If the bytes are no such message, or it contradicts itself.
    """
    return read_request_alike(data, walk_from)[0]


def read_request_alike(
    data: Content, walk_from: int = WALK_FROM_BYTES
) -> tuple[InferRequest, object | None]:
    """Read a ModelInferRequest as `read_request` does; return also what it is alike with.

    Requests that come with the same object differ only in their ids, the contents of their tensors
    and the values of their parameters that are texts or integers: names, types and shapes are the
    same. It is None for a request that is like none before.
    """
    if walk_from and (found := _requests.read(data)) is not None:
        layout, message_id, parameters, inputs = found
        like = layout.like
        return (
            InferRequest(like.model, like.version, message_id, parameters, inputs, like.outputs),
            layout,
        )
    header, raw = _read(data, 0, ModelInferRequest, walk_from)
    request = InferRequest(
        model=header.model_name,
        version=header.model_version,
        id=header.id,
        parameters=_parameters(header.parameters),
        inputs=_tensors(header.inputs, raw, "input"),
        outputs=_wanted(header) if header.outputs else (),
    )
    # What is compressed has another size each time: to learn it would cost more than to parse it,
    # and drive out what others come with.
    if walk_from and COMPRESSION not in request.parameters:
        _requests.learn(data, 0, structs.replace(request, inputs=()), request.inputs)
    return request, None


def read_response(data: Content, walk_from: int = WALK_FROM_BYTES) -> InferResponse:
    """Read a ModelInferResponse, as `read_request` does a request."""
    return _response(*_read(data, 0, ModelInferResponse, walk_from))


def read_stream_response(data: Content, walk_from: int = WALK_FROM_BYTES) -> InferResponse:
    """Read a ModelStreamInferResponse, as `read_request` does a request."""
    if walk_from and (found := _responses.read(data)) is not None:
        layout, message_id, parameters, outputs = found
        like = layout.like
        return InferResponse(like.model, like.version, message_id, parameters, outputs)
    # An answer is usually one field 2 that fills the message: the response, and no error.
    start = _response_start(data)
    if start and len(data) >= walk_from:
        response = _response(*_read(data, start, ModelInferResponse, walk_from))
        if walk_from:
            _responses.learn(data, start, structs.replace(response, outputs=()), response.outputs)
        return response
    _check_header("stream response", len(data))
    try:
        message = ModelStreamInferResponse.FromString(bytes(data))
    except DecodeError as error:
        raise RequestInvalid("stream response", str(error)) from error
    inner = message.infer_response
    _check_items("stream response", inner)
    response = _response(inner, list(inner.raw_output_contents), message.error_message)
    if start and walk_from:
        _responses.learn(data, start, structs.replace(response, outputs=()), response.outputs)
    return response


def _response_start(data: Content) -> int:
    """Return where the response begins in a stream's answer that is nothing else; otherwise 0."""
    if data[:1] != b"\x12":
        return 0
    size, start = _varint_at(data, 1)
    return start if start + size == len(data) else 0


def _read(
    data: Content, start: int, kind: type[Message], walk_from: int
) -> tuple[Message, Sequence[Buffer]]:
    """Return the header and the raw tensors of the message in data[start:]."""
    raw_field, raw_name = _RAW[kind]
    stop = len(data)
    raw: Sequence[Buffer] = ()
    if stop - start >= walk_from:
        stop, raw = _split(data, start, raw_field)
    _check_header(kind.DESCRIPTOR.name, stop - start)
    try:
        message = kind.FromString(bytes(data[start:stop]))
    except DecodeError as error:
        raise RequestInvalid(kind.DESCRIPTOR.name, str(error)) from error
    _check_items(kind.DESCRIPTOR.name, message)
    return message, raw or list(getattr(message, raw_name))


def _check_header(where: str, size: int) -> None:
    """Refuse a header that would grow out of proportion when it is parsed."""
    if size > MAX_HEADER_BYTES:
        reason = f"over {MAX_HEADER_BYTES} bytes beside raw tensors at the end; send tensors raw"
        raise RequestInvalid(where, reason)


def _check_items(where: str, message: ModelInferRequest | ModelInferResponse) -> None:
    """Refuse more tensors or parameters than any model has, before each becomes an object."""
    counts = [len(message.parameters), len(message.outputs)]
    if isinstance(message, ModelInferRequest):
        counts += [len(message.inputs), len(message.raw_input_contents)]
    else:
        counts.append(len(message.raw_output_contents))
    if max(counts) > MAX_ITEMS:
        raise RequestInvalid(where, f"over {MAX_ITEMS} tensors or parameters")


def _split(data: Content, start: int, raw_field: int) -> tuple[int, Sequence[Buffer]]:
    """Return where the header ends and the raw tensors after it.

    Only messages whose top-level fields are all length-delimited, of numbers below 16, with the
    raw tensors last, are split; of any other all is header.
    """
    view = memoryview(data)
    raw: list[memoryview] = []
    header_stop = stop = len(data)
    raw_tag = raw_field << 3 | LENGTH_DELIMITED
    at, fields = start, 0
    while at < stop:
        fields += 1
        if fields > MAX_FIELDS:
            raise RequestInvalid("message", f"over {MAX_FIELDS} fields")
        tag = data[at]
        size, content = _varint_at(data, at + 1)
        if tag & 7 != LENGTH_DELIMITED or tag > 127 or not content or content + size > stop:
            return stop, []
        if tag == raw_tag:
            header_stop = header_stop if raw else at
            if len(raw) == MAX_ITEMS:
                raise RequestInvalid("raw contents", f"over {MAX_ITEMS} tensors")
            raw.append(view[content : content + size])
        elif raw:
            return stop, []
        at = content + size
    return header_stop, raw


def _response(header: ModelInferResponse, raw: Sequence[Buffer], error: str = "") -> InferResponse:
    return InferResponse(
        model=header.model_name,
        version=header.model_version,
        id=header.id,
        parameters=_parameters(header.parameters),
        outputs=_tensors(header.outputs, raw, "output"),
        error=error,
    )


def _wanted(header: ModelInferRequest) -> tuple[str, ...]:
    """Return the names of the outputs that are asked for, as they are."""
    for output in header.outputs:
        for name in _OTHER_OUTPUTS:
            if name in output.parameters:
                where = f"output '{output.name[:64]}' parameter '{name}'"
                raise RequestInvalid(where, "expected none: outputs come whole, in the message")
    return tuple(output.name for output in header.outputs)


def _parameters(parameters: Mapping[str, InferParameter]) -> Mapping[str, Parameter]:
    if not parameters:
        return NO_PARAMETERS
    read: dict[str, Parameter] = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is not None:
            read[name] = getattr(parameter, kind)
    return read


def _tensors(
    headers: Sequence[ModelInferRequest.InferInputTensor | ModelInferResponse.InferOutputTensor],
    raw: Sequence[Buffer],
    kind: str,
) -> tuple[Tensor, ...]:
    if raw and len(raw) != len(headers):
        raise RequestInvalid("raw contents", f"{len(raw)} tensors for {len(headers)} {kind}s")
    tensors = []
    for i, header in enumerate(headers):
        name, datatype, shape, has_contents = _read_header(header.SerializeToString())
        content: Buffer = raw[i] if raw else b""
        if has_contents:
            if raw:
                raise RequestInvalid(f"{kind} '{name}'", "both raw and typed contents")
            content = _typed(datatype, header.contents, f"{kind} '{name}'")
        tensors.append(Tensor(name, datatype, shape, content))
    return tuple(tensors)


def _read_header(data: bytes) -> TensorHeader:
    """Return what a tensor's header says; an agent sends the same one again and again."""
    return _cached_header(data) if len(data) <= _CACHED_BYTES else _parse_header(data)


def _parse_header(data: bytes) -> TensorHeader:
    # Inputs and outputs have the same fields.
    header = ModelInferRequest.InferInputTensor.FromString(data)
    return header.name, header.datatype, tuple(header.shape), header.HasField("contents")


_cached_header = lru_cache(_CACHED)(_parse_header)


def _typed(datatype: str, contents: InferTensorContents, where: str) -> bytes:
    """Return the raw bytes of values that came in a typed field."""
    if datatype not in _CONTENTS:
        raise RequestInvalid(where, f"datatype '{datatype[:16]}' has no typed contents here")
    # A list, since NumPy wraps the values of a repeated field around without a word.
    values = list(getattr(contents, _CONTENTS[datatype]))
    dtype = np.dtype(_DTYPES[datatype]).newbyteorder("<")
    try:
        return np.array(values, dtype=dtype).tobytes()
    except OverflowError as error:
        raise RequestInvalid(where, f"a value does not fit {datatype}: {error}") from error


def _varint_at(data: Content, at: int) -> tuple[int, int]:
    """Return the varint at `at` and the index after it; (0, 0) where there is none."""
    value = 0
    for i, byte in enumerate(data[at : at + 5]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    return 0, 0
