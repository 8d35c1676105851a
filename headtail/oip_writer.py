"""Messages of the Open Inference Protocol v2 as bytes, in one join of what stays and what changes.

The generated classes copy every tensor twice, and build what is the same every time anew.
"""

import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from headtail.oip_message import Buffer, Parameter
from headtail.protobuf import LENGTH_DELIMITED, text, varint
from headtail.protobuf import field as write_field
from headtail.tensor import OIP_DATATYPES, Array, TensorSpec

_CACHED = 64  # headers kept; more only means that they are built again
_COPIED_BYTES = 4 << 10  # up to here a copy of a tensor costs less than a view of it
_STRING = 0x1A  # InferParameter.string_param


_IS_LITTLE_ENDIAN = sys.byteorder == "little"


@dataclass(slots=True)
class InferWriter:
    """Writes the requests, or the responses, for one model."""

    model: str
    version: str
    specs: Sequence[TensorSpec]
    raw_field: int
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """What every message carries."""
    _names: bytes = field(init=False)
    _fixed: bytes = field(init=False)
    _headers: dict[tuple[tuple[int, ...], ...], bytes] = field(init=False, default_factory=dict)
    _raw_tag: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Write what never changes."""
        self._names = text(1, self.model) + text(2, self.version)
        self._fixed = b"".join(_parameter(n, v) for n, v in self.parameters.items())
        self._raw_tag = bytes([self.raw_field << 3 | LENGTH_DELIMITED])

    def write(
        self,
        message_id: str,
        parameters: Mapping[str, Parameter],
        arrays: Sequence[Array],
    ) -> bytes:
        """Return the message's bytes.

        Args:
            message_id: Comes back in the response.
            parameters: Free map of the protocol, beside those of every message.
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
        return b"".join((b"\x12", varint(sum(map(len, pieces))), *pieces))

    def _pieces(
        self, message_id: str, parameters: Mapping[str, Parameter], arrays: Sequence[Array]
    ) -> list[Buffer]:
        pieces: list[Buffer] = [self._names, text(3, message_id), self._fixed]
        for name, value in parameters.items():
            pieces += _parameter_pieces(name, value)
        shapes = tuple([a.shape for a in arrays])
        pieces.append(self._headers.get(shapes) or self._header(shapes))
        for array in arrays:
            content = _content(array)
            pieces += (self._raw_tag, varint(len(content)), content)
        return pieces

    def _header(self, shapes: tuple[tuple[int, ...], ...]) -> bytes:
        header = b"".join(
            _tensor(spec, shape) for spec, shape in zip(self.specs, shapes, strict=True)
        )
        if len(self._headers) >= _CACHED:
            self._headers.clear()
        self._headers[shapes] = header
        return header


def _content(array: Array) -> Buffer:
    """Return the row-major little-endian bytes of an array; of a large one a view."""
    if array.nbytes <= _COPIED_BYTES and _IS_LITTLE_ENDIAN and array.dtype.isnative:
        return array.tobytes()
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return content.reshape(-1).view(np.uint8).data


def write_stream_error(message_id: str, error: str, parameters: Mapping[str, Parameter]) -> bytes:
    """Return a ModelStreamInferResponse that says a request failed; the stream goes on."""
    inner = [text(3, message_id), *(_parameter(n, v) for n, v in parameters.items())]
    return text(1, error) + write_field(2, b"".join(inner))


def _parameter(name: str, value: Parameter) -> bytes:
    """Return one entry of the map `parameters`, field 4 of both messages."""
    return b"".join(_parameter_pieces(name, value))


def _parameter_pieces(name: str, value: Parameter) -> tuple[bytes, bytes]:
    """Return one entry of the map `parameters`: what it shares with others of its size, a value."""
    if isinstance(value, bool):
        kind, content = 0x08, varint(value)
    elif isinstance(value, int):
        kind, content = 0x10, varint(value & 0xFFFFFFFFFFFFFFFF)
    elif isinstance(value, str):
        kind, content = _STRING, value.encode()
    else:
        kind, content = 0x21, struct.pack("<d", value)
    return _entry(name, kind, len(content)), content


@lru_cache(_CACHED)
def _entry(name: str, kind: int, size: int) -> bytes:
    """Return all of an entry but its value, which fills its last `size` bytes."""
    choice = varint(kind) + (varint(size) if kind == _STRING else b"")
    parameter = varint(len(choice) + size) + choice
    key = text(1, name)
    return b"".join(
        (b"\x22", varint(len(key) + 1 + len(parameter) + size), key, b"\x12", parameter)
    )


def _tensor(spec: TensorSpec, shape: tuple[int, ...]) -> bytes:
    """Return the header of one tensor, field 5 of both messages."""
    packed = b"".join(varint(n) for n in shape)
    datatype = OIP_DATATYPES[spec.dtype]
    sizes = write_field(3, packed) if packed else b""
    return write_field(5, text(1, spec.name) + text(2, datatype) + sizes)
