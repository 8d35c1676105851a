"""What clients say first: HTTP/2's preface, or TLS's ClientHello as Python's own TLS writes it."""

import ssl
import struct

import pytest

OTHER = b"GET / HTTP/1.1\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def settings_frame(
    *settings: tuple[int, int], kind: int = 4, flags: int = 0, stream: int = 0
) -> bytes:
    """Return an HTTP/2 frame: 24 bits of length, type, flags, stream, settings."""
    payload = b"".join(struct.pack(">HI", *setting) for setting in settings)
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


MARKED = PREFACE + settings_frame((0xF7A1, 1), (4, 1 << 20))


def client_hello(*protocols: str, host: str = "fog.example") -> bytes:
    """Return what Python's own TLS says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if protocols:
        context.set_alpn_protocols([*protocols])
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
