"""What a call begins and ends with: metadata, status, and how HTTP/2 says them.

Source: "gRPC over HTTP2" (PROTOCOL-HTTP2.md of gRPC) and "HTTP to gRPC status code mapping".
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote, unquote

import grpc
import hpack

from headtail.http2.frames import ErrorCode

MAX_HEADERS_BYTES = 1 << 14
"""Of one list of headers, compressed or not."""
DEFAULT_TABLE_BYTES = 4096
CONTENT_TYPE = "application/grpc"
Metadata = Sequence[tuple[str, str | bytes]]
_CODES = MappingProxyType({code.value[0]: code for code in grpc.StatusCode})
_BY_RESET: Mapping[int, grpc.StatusCode] = MappingProxyType(
    {
        ErrorCode.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
        ErrorCode.CANCEL: grpc.StatusCode.CANCELLED,
        ErrorCode.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
        ErrorCode.INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
    }
)
_BY_HTTP = MappingProxyType(
    {
        "400": grpc.StatusCode.INTERNAL,
        "401": grpc.StatusCode.UNAUTHENTICATED,
        "403": grpc.StatusCode.PERMISSION_DENIED,
        "404": grpc.StatusCode.UNIMPLEMENTED,
        "429": grpc.StatusCode.UNAVAILABLE,
        "502": grpc.StatusCode.UNAVAILABLE,
        "503": grpc.StatusCode.UNAVAILABLE,
        "504": grpc.StatusCode.UNAVAILABLE,
    }
)
MAX_DETAILS_BYTES = 4096
"""Of a status's text as it is sent; servers and clients of gRPC take 8 KiB of headers."""
_OWN = frozenset({"content-type", "te", "user-agent"})
_OWN_OF_GRPC = frozenset({"status", "message", "timeout", "encoding", "accept-encoding"})
_UNITS = MappingProxyType({"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9})
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class End:
    """What a call ended with."""

    code: grpc.StatusCode
    details: str = ""
    trailing: Metadata = ()
    """Metadata that came with it."""


class Broken(Exception):
    """A call that is over before its end was said."""

    def __init__(self, code: grpc.StatusCode, details: str, *, is_lost: bool = True) -> None:
        """Say why, and whether the other side can no longer be told anything."""
        super().__init__(details)
        self.end = End(code, details)
        self.is_lost = is_lost


def by_reset(code: int) -> grpc.StatusCode:
    """Return the status of a stream that the other side reset."""
    return _BY_RESET.get(code, grpc.StatusCode.INTERNAL)


def encode(headers: Iterable[tuple[str, str]], table_bytes: int = DEFAULT_TABLE_BYTES) -> bytes:
    """Return headers as a block that needs nothing of what came before.

    Args:
        headers: In their order.
        table_bytes: The smallest table that the other side has asked us to keep to; none is used.
    """
    plain = [hpack.NeverIndexedHeaderTuple(name, value) for name, value in headers]
    encoder = hpack.Encoder()
    encoder.header_table_size = min(table_bytes, DEFAULT_TABLE_BYTES)
    return encoder.encode(plain, huffman=False)


def request_headers(scheme: str, authority: str, path: str, user_agent: str) -> Headers:
    """Return the headers that begin a call."""
    return (
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", CONTENT_TYPE),
        ("user-agent", user_agent),
    )


def trailers(end: End) -> Headers:
    """Return the headers that end a call."""
    headers = [("grpc-status", str(end.code.value[0]))]
    if end.details:
        headers.append(("grpc-message", _quoted(end.details)))
    return headers + metadata_headers(end.trailing)


def metadata_headers(sent: Metadata) -> list[tuple[str, str]]:
    """Return metadata as headers."""
    return [(name, _sent(name, value)) for name, value in sent]


def read_end(headers: Headers) -> End:
    """Return the end that trailers say; UNKNOWN where they do not."""
    found = dict(headers)
    number = found.get("grpc-status", "")
    if not (number.isascii() and number.isdigit()):
        return http_end(found) or End(grpc.StatusCode.UNKNOWN, "no status")
    code = _CODES.get(int(number[:4]), grpc.StatusCode.UNKNOWN)
    return End(code, unquote(found.get("grpc-message", ""), errors="replace"), metadata(headers))


def http_end(found: Mapping[str, str]) -> End | None:
    """Return the end of a call that something else than gRPC answered; None where gRPC did."""
    status, kind = found.get(":status", "200"), found.get("content-type", CONTENT_TYPE)
    if status != "200":
        code = _BY_HTTP.get(status, grpc.StatusCode.UNKNOWN)
        return End(code, f"expected HTTP status 200, received {status[:16]}")
    if not kind.startswith(CONTENT_TYPE):
        return End(grpc.StatusCode.UNKNOWN, f"expected {CONTENT_TYPE}, received {kind[:64]}")
    return None


def metadata(headers: Headers) -> tuple[tuple[str, str | bytes], ...]:
    """Return what of the headers is metadata."""
    return tuple(
        (name, _received(name, part))
        for name, value in headers
        if not _is_own(name)
        for part in (value.split(",") if name.endswith("-bin") else (value,))
    )


def timeout_s(text: str) -> float | None:
    """Return `grpc-timeout` in seconds; None where it is none."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) <= 8 and unit in _UNITS):
        return None
    return int(number) * _UNITS[unit]


def _is_own(name: str) -> bool:
    return name in _OWN or name[:1] == ":" or name.removeprefix("grpc-") in _OWN_OF_GRPC


def _quoted(details: str) -> str:
    """Return a text as percent-encoded UTF-8, cut between two characters if it is too long."""
    safe = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"
    text = quote(details[:MAX_DETAILS_BYTES], safe, errors="replace")
    while len(text) > MAX_DETAILS_BYTES:
        details = details[: min(len(details), MAX_DETAILS_BYTES) * 7 // 8]
        text = quote(details, safe, errors="replace")
    return text


def _sent(name: str, value: str | bytes) -> str:
    if name.endswith("-bin"):
        data = value if isinstance(value, bytes) else value.encode()
        return base64.b64encode(data).decode().rstrip("=")
    return value if isinstance(value, str) else value.decode("ascii")


def _received(name: str, value: str) -> str | bytes:
    if not name.endswith("-bin"):
        return value
    try:
        value = value.strip().rstrip("=")
        return base64.b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return b""
