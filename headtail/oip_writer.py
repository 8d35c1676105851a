"""Messages of the Open Inference Protocol v2 as bytes, in one join of what stays and what changes.

The generated classes copy every tensor twice, and build what is the same every time anew.
"""

import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headtail.oip_message import Buffer, Parameter
from headtail.protobuf import LENGTH_DELIMITED, text, varint
from headtail.protobuf import field as write_field
from headtail.tensor import OIP_DATATYPES, Array, TensorSpec

_CACHED = 64  # frames kept; more only means that they are built again
_COPIED_BYTES = 4 << 10  # up to here a copy of a tensor costs less than a view of it
_BOOL, _INT64, _STRING, _DOUBLE = 0x08, 0x10, 0x1A, 0x21  # tags of InferParameter


_SIGN = 1 << 63
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
    _frames: dict[tuple[object, ...], tuple[bytes, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Write what never changes."""
        self._names = text(1, self.model) + text(2, self.version)
        self._fixed = b"".join(_parameter(n, v) for n, v in self.parameters.items())

    def write(
        self,
        message_id: str,
        parameters: Mapping[str, Parameter],
        arrays: Sequence[Array],
        contents: Sequence[Buffer] | None = None,
    ) -> bytes:
        """Return the message's bytes.

        Args:
            message_id: Comes back in the response.
            parameters: Free map of the protocol, beside those of every message.
            arrays: One array per spec, of its dtype.
            contents: What travels in the place of the arrays' bytes; None: those.
        """
        return b"".join(self._pieces(message_id, parameters, arrays, False, contents))

    def write_parts(
        self,
        message_id: str,
        parameters: Mapping[str, Parameter],
        arrays: Sequence[Array],
        contents: Sequence[Buffer] | None = None,
    ) -> tuple[bytes, Buffer]:
        """Return what `write` does as two parts, the second a view of the last array.

        That array must not change until the message is sent. One that is small is copied: the
        second part is then empty.
        """
        pieces = self._pieces(message_id, parameters, arrays, False, contents)
        if not arrays or pieces[-1] or len(pieces[-2]) <= _COPIED_BYTES:
            return b"".join(pieces), b""
        return b"".join(pieces[:-2]), pieces[-2]

    def frame(
        self,
        message_id: str,
        parameters: Mapping[str, Parameter],
        arrays: Sequence[Array],
        contents: Sequence[Buffer],
    ) -> tuple[Buffer, ...]:
        """Return what stands before, between and after the values of the message of `write`.

        They are the id's, the parameters' and the tensors', in this order. The same stands in every
        message of the same shapes whose values are of the same kinds and as many bytes.
        """
        return tuple(self._pieces(message_id, parameters, arrays, False, contents)[::2])

    def write_stream_response(
        self,
        message_id: str,
        parameters: Mapping[str, Parameter],
        arrays: Sequence[Array],
    ) -> bytes:
        """Return the bytes of a ModelStreamInferResponse around the response."""
        return b"".join(self._pieces(message_id, parameters, arrays, True, None))

    def _pieces(
        self,
        message_id: str,
        parameters: Mapping[str, Parameter],
        arrays: Sequence[Array],
        is_stream: bool,
        contents: Sequence[Buffer] | None,
    ) -> list[Buffer]:
        """Return the frame and the values in it, by turns; the first and the last are frame."""
        kinds: list[int] = []
        values: list[Buffer] = [message_id.encode()]
        for value in parameters.values():
            if type(value) is int and 0 <= value < _SIGN:  # nearly all are
                kinds.append(_INT64)
                values.append(varint(value))
            else:
                kind, content = _value(value)
                kinds.append(kind)
                values.append(content)
        shapes = []
        for array in arrays:
            shapes.append(array.shape)
            if contents is None:
                values.append(_content(array))
        if contents is not None:
            values += contents
        sizes = tuple(map(len, values))
        key = (is_stream, *parameters, *kinds, *sizes, *shapes)
        frame = self._frames.get(key)
        if frame is None:
            entries = [
                _entry(n, k, s) for n, k, s in zip(parameters, kinds, sizes[1:], strict=False)
            ]
            frame = self._frame(entries, sizes, shapes, is_stream)
            if len(self._frames) >= _CACHED:
                self._frames.clear()
            self._frames[key] = frame
        pieces: list[Buffer] = [b""] * (2 * len(values) + 1)
        pieces[::2] = frame
        pieces[1::2] = values
        return pieces

    def _frame(
        self,
        entries: Sequence[bytes],
        sizes: Sequence[int],
        shapes: Sequence[tuple[int, ...]],
        is_stream: bool,
    ) -> tuple[bytes, ...]:
        """Return what stands before, between and after values of these sizes."""
        raw_tag = bytes([self.raw_field << 3 | LENGTH_DELIMITED])
        raw = [raw_tag + varint(n) for n in sizes[1 + len(entries) :]]
        parts = [
            self._names + (b"\x1a" + varint(sizes[0]) if sizes[0] else b""),
            *entries,
            *raw,
            b"",
        ]
        headers = (_tensor(spec, shape) for spec, shape in zip(self.specs, shapes, strict=True))
        # The tensors' headers follow the last parameter's value, the constant parameters the id.
        parts[1 + len(entries)] = b"".join(headers) + parts[1 + len(entries)]
        parts[1] = self._fixed + parts[1]
        if is_stream:
            parts[0] = b"\x12" + varint(sum(sizes) + sum(map(len, parts))) + parts[0]
        return tuple(parts)


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
    kind, content = _value(value)
    return _entry(name, kind, len(content)) + content


def _value(value: Parameter) -> tuple[int, bytes]:
    """Return the tag of a parameter's field in InferParameter, and the value after it."""
    if isinstance(value, bool):
        return _BOOL, varint(value)
    if isinstance(value, int):
        return _INT64, varint(value & 0xFFFFFFFFFFFFFFFF)
    if isinstance(value, str):
        return _STRING, value.encode()
    return _DOUBLE, struct.pack("<d", value)


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
