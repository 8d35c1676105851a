"""Open Inference Protocol v2 messages as bytes: tensors are views in, and one join out.

A request is a header of some hundred bytes (fields 1 to 6) and the raw tensors (field 7); a
response ends in field 6 likewise. Reading a tensor through the generated classes copies it twice.
So the reader walks the top-level fields by hand, gives the header to the generated class, and
takes the raw tensors as views; a message of any other shape goes to the generated class whole. The
writer caches the parts of the header that stay the same.

Source: protobuf encoding, https://protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from headtail.errors import RequestInvalid
from headtail.inference.grpc_service_pb2 import (
    InferParameter,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from headtail.tensor import OIP_DATATYPES, Array, TensorSpec

Parameter = bool | int | float | str
Buffer = bytes | memoryview
NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})
RAW_INPUT_FIELD, RAW_OUTPUT_FIELD = 7, 6  # ModelInferRequest, ModelInferResponse
_LENGTH_DELIMITED = 2  # wire type of strings, bytes and messages
_CACHED_SHAPES = 64  # per writer; more only means that headers are built again
# InferTensorContents field -> dtype of its values, by datatype.
_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
_DTYPES = {datatype: dtype for dtype, datatype in OIP_DATATYPES.items()}
Message = TypeVar("Message", ModelInferRequest, ModelInferResponse)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it travels: little-endian, row-major."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: Buffer


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a client asks: `outputs` names those wanted, empty for all."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, Parameter]
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InferResponse:
    """What a server answers; `error` is empty unless it is a stream's answer to a bad request."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, Parameter]
    outputs: tuple[Tensor, ...]
    error: str = ""


def read_request(data: bytes) -> InferRequest:
    """Read a ModelInferRequest; its raw tensors are views of `data`.

    Raises:
        RequestInvalid: If the bytes are no such message, or it contradicts itself.
    """
    header, raw = _read(data, 0, len(data), ModelInferRequest, RAW_INPUT_FIELD)
    return InferRequest(
        model=header.model_name,
        version=header.model_version,
        id=header.id,
        parameters=_parameters(header.parameters),
        inputs=_tensors(header.inputs, raw, "input"),
        outputs=tuple(o.name for o in header.outputs) if header.outputs else (),
    )


def read_response(data: bytes) -> InferResponse:
    """Read a ModelInferResponse; its raw tensors are views of `data`.

    Raises:
        RequestInvalid: If the bytes are no such message, or it contradicts itself.
    """
    return _response(*_read(data, 0, len(data), ModelInferResponse, RAW_OUTPUT_FIELD))


def read_stream_response(data: bytes) -> InferResponse:
    """Read a ModelStreamInferResponse, as `read_response` does."""
    # The usual answer is one field 2 that fills the message: the response, without an error.
    if data[:1] == b"\x12":
        stop, start = _varint_at(data, 1)
        if start and start + stop == len(data):
            inner = _read(data, start, len(data), ModelInferResponse, RAW_OUTPUT_FIELD)
            return _response(*inner)
    try:
        message = ModelStreamInferResponse.FromString(data)
    except DecodeError as error:
        raise RequestInvalid("stream response", str(error)) from error
    inner_message = message.infer_response
    return _response(inner_message, list(inner_message.raw_output_contents), message.error_message)


@dataclass(slots=True)
class InferWriter:
    """Writes the requests, or the responses, for one model."""

    model: str
    version: str
    specs: Sequence[TensorSpec]
    raw_field: int
    _names: bytes = field(init=False)
    _headers: dict[tuple[tuple[int, ...], ...], bytes] = field(init=False, default_factory=dict)
    _raw_tag: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Write what never changes."""
        self._names = _text(1, self.model) + (_text(2, self.version) if self.version else b"")
        self._raw_tag = bytes([self.raw_field << 3 | _LENGTH_DELIMITED])

    def write(
        self,
        message_id: str,
        parameters: Mapping[str, Parameter],
        arrays: Sequence[Array],
    ) -> bytes:
        """Return the message's bytes.

        Args:
            message_id: Comes back in the response.
            parameters: Free map of the protocol.
            arrays: One array per spec, of its dtype.
        """
        return b"".join(self._pieces(message_id, parameters, arrays))

    def write_stream_response(
        self,
        message_id: str,
        parameters: Mapping[str, Parameter],
        arrays: Sequence[Array],
    ) -> bytes:
        """Return the bytes of a ModelStreamInferResponse around the response."""
        pieces = self._pieces(message_id, parameters, arrays)
        size = sum(memoryview(p).nbytes for p in pieces)
        return b"".join((b"\x12", _varint(size), *pieces))

    def _pieces(
        self, message_id: str, parameters: Mapping[str, Parameter], arrays: Sequence[Array]
    ) -> list[Buffer]:
        pieces: list[Buffer] = [self._names, _text(3, message_id)]
        pieces += [_parameter(name, value) for name, value in parameters.items()]
        pieces.append(self._header(tuple(a.shape for a in arrays)))
        for array in arrays:
            content = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            pieces += (self._raw_tag, _varint(content.nbytes), content.data)
        return pieces

    def _header(self, shapes: tuple[tuple[int, ...], ...]) -> bytes:
        header = self._headers.get(shapes)
        if header is None:
            header = b"".join(
                _tensor(spec, shape) for spec, shape in zip(self.specs, shapes, strict=True)
            )
            if len(self._headers) >= _CACHED_SHAPES:
                self._headers.clear()
            self._headers[shapes] = header
        return header


def write_stream_error(message_id: str, error: str, parameters: Mapping[str, Parameter]) -> bytes:
    """Return a ModelStreamInferResponse that says a request failed; the stream goes on."""
    inner = [_text(3, message_id), *(_parameter(n, v) for n, v in parameters.items())]
    return _text(1, error) + _field(2, b"".join(inner))


def _read(
    data: bytes, start: int, stop: int, kind: type[Message], raw_field: int
) -> tuple[Message, Sequence[Buffer]]:
    """Return the header and the raw tensors of the message in data[start:stop]."""
    header_stop, raw = _split(data, start, stop, raw_field)
    try:
        message = kind.FromString(data[start:header_stop])
    except DecodeError as error:
        raise RequestInvalid(kind.DESCRIPTOR.name, str(error)) from error
    if raw:
        return message, raw
    contents = "raw_input_contents" if raw_field == RAW_INPUT_FIELD else "raw_output_contents"
    return message, list(getattr(message, contents))


def _split(data: bytes, start: int, stop: int, raw_field: int) -> tuple[int, list[memoryview]]:
    """Return where the header ends and the raw tensors after it.

    Only messages whose top-level fields are all length-delimited, of numbers below 16, with the
    raw tensors last, are split; of any other all is header.
    """
    view = memoryview(data)
    raw: list[memoryview] = []
    header_stop = stop
    raw_tag = raw_field << 3 | _LENGTH_DELIMITED
    at = start
    while at < stop:
        tag = data[at]
        size, content = _varint_at(data, at + 1)
        if tag & 7 != _LENGTH_DELIMITED or tag > 127 or not content or content + size > stop:
            return stop, []
        if tag == raw_tag:
            header_stop = header_stop if raw else at
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
        if header.HasField("contents"):
            if raw:
                raise RequestInvalid(f"{kind} '{header.name}'", "both raw and typed contents")
            content: Buffer = _typed(header.datatype, header.contents, f"{kind} '{header.name}'")
        else:
            content = raw[i] if raw else b""
        tensors.append(Tensor(header.name, header.datatype, tuple(header.shape), content))
    return tuple(tensors)


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


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at `at` and the index after it; (0, 0) where there is none."""
    value = 0
    for i, byte in enumerate(data[at : at + 5]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    return 0, 0


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode("utf-8")) if text else b""


def _parameter(name: str, value: Parameter) -> bytes:
    """Return one entry of the map `parameters`, field 4 of both messages."""
    if isinstance(value, bool):
        choice = b"\x08" + _varint(value)
    elif isinstance(value, int):
        choice = b"\x10" + _varint(value & 0xFFFFFFFFFFFFFFFF)
    elif isinstance(value, str):
        choice = _field(3, value.encode("utf-8"))
    else:
        choice = b"\x21" + struct.pack("<d", value)
    return _field(4, _text(1, name) + _field(2, choice))


def _tensor(spec: TensorSpec, shape: tuple[int, ...]) -> bytes:
    """Return the header of one tensor, field 5 of both messages."""
    packed = b"".join(_varint(n) for n in shape)
    datatype = OIP_DATATYPES[spec.dtype]
    sizes = _field(3, packed) if packed else b""
    return _field(5, _text(1, spec.name) + _text(2, datatype) + sizes)
