"""Compression of tensors on the wire: each as a zlib stream of its own.

It changes neither shape nor datatype, only the bytes. Source: RFC 1950.
"""

import zlib

from headtail.errors import TensorInvalid

PARAMETER = "compression"
"""Parameter of a request that names how its raw tensors are compressed; absent: not at all."""
DEFLATE = "deflate"
LEVEL = 1
"""Of zlib's nine the quickest."""


def compress(buffer: bytes | memoryview) -> bytes:
    """Return a tensor's bytes as a zlib stream."""
    return zlib.compress(buffer, LEVEL)


def decompress(buffer: bytes | memoryview, expected_bytes: int, where: str = "tensor") -> bytes:
    """Return what `compress` was given, never making more than a byte too many of it.

    Args:
        buffer: The stream, with nothing behind it.
        expected_bytes: How much it must hold.
        where: The tensor, for the text.

    Raises:
        TensorInvalid: If it is no such stream, breaks off, goes on behind its end, or holds more
            or less than expected.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(buffer, expected_bytes + 1)
    except zlib.error as error:
        raise TensorInvalid(where, f"{expected_bytes} bytes deflated", str(error)) from error
    if len(content) > expected_bytes:
        raise TensorInvalid(where, f"{expected_bytes} bytes once inflated", "more")
    if not stream.eof:
        raise TensorInvalid(where, f"{expected_bytes} bytes deflated", "a stream that breaks off")
    if stream.unused_data:
        raise TensorInvalid(
            where, "nothing behind the deflated bytes", f"{len(stream.unused_data)} bytes"
        )
    if len(content) != expected_bytes:
        raise TensorInvalid(where, f"{expected_bytes} bytes once inflated", f"{len(content)} bytes")
    return content
