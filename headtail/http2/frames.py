"""HTTP/2's frames as bytes: those that are few and small (RFC 9113, sections 4 and 6)."""

import struct
from collections.abc import Mapping
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
MESSAGE_BYTES = 14
"""A frame's header and the prefix of a message."""
PREFIX_BYTES = 5
"""Of a gRPC message: a flag that says whether it is compressed, and its length."""
DEFAULT_WINDOW = 65_535
DEFAULT_MAX_FRAME = 1 << 14
MAX_WINDOW = (1 << 31) - 1
MAX_FRAME = (1 << 24) - 1

HEADER = struct.Struct(">HBBBI")
PREFIX = struct.Struct(">BI")
MESSAGE = struct.Struct(">HBBBIBI")
"""Header of a frame that holds one message, and the message's prefix."""
SETTING = struct.Struct(">HI")
LONG = struct.Struct(">I")
_GOAWAY = struct.Struct(">II")


class Kind(IntEnum):
    """Of a frame."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntEnum):
    """Of a frame."""

    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4
    PADDED = 8
    PRIORITY = 32


class Setting(IntEnum):
    """What one side tells the other of itself."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ONE_CALL = 0xF7A1
    """Ours: the connection carries one call. Others pass over what they do not know (6.5.2)."""


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def frame(kind: Kind, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    size = len(payload)
    return HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def headers(stream: int, block: bytes, *, is_last: bool) -> bytes:
    """Return the frames that carry a block of headers, each as small as any side must take."""
    flags = Flag.END_STREAM if is_last else 0
    kind, result = Kind.HEADERS, b""
    while len(block) > DEFAULT_MAX_FRAME:
        result += frame(kind, flags, stream, block[:DEFAULT_MAX_FRAME])
        kind, flags, block = Kind.CONTINUATION, 0, block[DEFAULT_MAX_FRAME:]
    return result + frame(kind, flags | Flag.END_HEADERS, stream, block)


def settings(values: Mapping[int, int]) -> bytes:
    """Return a frame of settings, in their order."""
    payload = b"".join(SETTING.pack(*item) for item in values.items())
    return frame(Kind.SETTINGS, 0, 0, payload)


def our_settings(*, is_client: bool, max_headers_bytes: int = 1 << 14) -> bytes:
    """Return what either side of ours tells the other first: it may send as much as TCP lets it."""
    ours: dict[int, int] = {
        Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW,
        Setting.MAX_FRAME_SIZE: MAX_FRAME,
        Setting.MAX_HEADER_LIST_SIZE: max_headers_bytes,
    }
    first: dict[int, int]
    if is_client:
        first = {Setting.ONE_CALL: 1, Setting.ENABLE_PUSH: 0}
    else:
        first = {Setting.MAX_CONCURRENT_STREAMS: 1}
    return settings(first | ours) + window_update(0, MAX_WINDOW - DEFAULT_WINDOW)


def window_update(stream: int, size: int) -> bytes:
    """Return the frame that lets the other side send `size` bytes more."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, LONG.pack(size))


def reset(stream: int, code: ErrorCode) -> bytes:
    """Return the frame that ends a stream at once."""
    return frame(Kind.RST_STREAM, 0, stream, LONG.pack(code))


def goaway(last_stream: int, code: ErrorCode, text: str = "") -> bytes:
    """Return the frame that says that the connection takes no new streams."""
    return frame(Kind.GOAWAY, 0, 0, _GOAWAY.pack(last_stream, code) + text.encode())


def read_goaway(payload: bytes) -> tuple[int, str]:
    """Return a GOAWAY frame's code and text.

    Raises:
        struct.error: If it is too short.
    """
    _, code = _GOAWAY.unpack_from(payload)
    return code, payload[_GOAWAY.size :][:200].decode("utf-8", "replace")
