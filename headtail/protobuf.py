"""Protobuf's encoding by hand: varints, and the fields of a message as places in its bytes.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types that are in use
_MAX_VARINT_BYTES = 10  # 64 bits at 7 a byte
_BYTES = [bytes([n]) for n in range(256)]


class Malformed(ValueError):
    """Bytes that are no protobuf message."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: data[start:stop] is all of it, data[content:stop] its value."""

    number: int
    wire_type: int
    start: int
    content: int
    stop: int


def fields(data: bytes | bytearray | memoryview, start: int, stop: int) -> Iterator[Field]:
    """Yield the fields of the message in data[start:stop], in order.

    Raises:
        Malformed: If a field reaches past `stop`, or is of a wire type that is not in use.
    """
    at = start
    while at < stop:
        tag, content = read_varint(data, at, stop)
        wire_type = tag & 7
        if wire_type == LENGTH_DELIMITED:
            size, content = read_varint(data, content, stop)
            end = content + size
        elif wire_type == VARINT:
            _, end = read_varint(data, content, stop)
        elif wire_type in (FIXED64, FIXED32):
            end = content + (8 if wire_type == FIXED64 else 4)
        else:
            raise Malformed(f"wire type {wire_type} at byte {at}")
        if end > stop:
            raise Malformed(f"field {tag >> 3} at byte {at} reaches past the end")
        yield Field(tag >> 3, wire_type, at, content, end)
        at = end


def read_varint(data: bytes | bytearray | memoryview, at: int, stop: int) -> tuple[int, int]:
    """Return the varint at `at` and the index after it.

    Raises:
        Malformed: If there is none before `stop`.
    """
    value = 0
    for i in range(at, min(stop, at + _MAX_VARINT_BYTES)):
        byte = data[i]
        value |= (byte & 0x7F) << (7 * (i - at))
        if byte < 0x80:
            return value, i + 1
    raise Malformed(f"no varint at byte {at}")


def varint(value: int) -> bytes:
    """Return the encoding of `value`, 0 to 2^64 - 1."""
    if value < 0x80:
        return _BYTES[value]
    if value < 1 << 14:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 1 << 21:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field."""
    return b"".join((varint(number << 3 | LENGTH_DELIMITED), varint(len(content)), content))


def text(number: int, value: str) -> bytes:
    """Return a string field; nothing for an empty one, as proto3 writes it."""
    return field(number, value.encode("utf-8")) if value else b""
