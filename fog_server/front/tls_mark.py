"""The mark of our agents' streams over TLS: a protocol that only they offer in their ClientHello.

They offer HTTP/2 as well, on which every other server agrees with them.
"""

from fog_server.front.verdict import Verdict
from headtail.http2.call import PROTOCOLS

_PROTOCOL = PROTOCOLS[0].encode()  # as application-layer protocol negotiation (RFC 7301) names it
# RFC 8446, 5.1: type of a record and half of its version, size of its head, largest content.
_KNOWN, _RECORD_HEAD, _MAX_RECORD = bytes([22, 3]), 5, 1 << 14
# RFC 8446, 4 and 4.1.2: type and length of a handshake message; version and random number.
_CLIENT_HELLO, _MESSAGE_HEAD, _FIXED = bytes([1]), 4, 34
_ALPN = 16  # RFC 7301, 3.1
MAX_HELLO_BYTES = _RECORD_HEAD + _MAX_RECORD
"""Longest that is looked at; a ClientHello in several records is nobody's of ours."""


def tls_verdict(data: bytes) -> Verdict | int:
    """Return whose a connection is that begins with `data`."""
    if not (data.startswith(_KNOWN) or _KNOWN.startswith(data)):
        return Verdict.OTHER
    if len(data) < _RECORD_HEAD:
        return _RECORD_HEAD
    length = int.from_bytes(data[len(_KNOWN) + 1 : _RECORD_HEAD])
    message = data[_RECORD_HEAD : _RECORD_HEAD + length]
    if not _MESSAGE_HEAD < length <= _MAX_RECORD or message[:1] not in (b"", _CLIENT_HELLO):
        return Verdict.OTHER
    if len(message) < length:
        return _RECORD_HEAD + length
    return Verdict.OURS if _is_ours(message) else Verdict.OTHER


def _is_ours(message: bytes) -> bool:
    try:
        fields = _Fields(message)
        fields.take(len(_CLIENT_HELLO))
        hello = fields.vector(3)
        fields.end()
        return _PROTOCOL in _offered(hello)
    except _Malformed:
        return False


def _offered(hello: bytes) -> list[bytes]:
    """Return the protocols that a ClientHello offers; none where it has no such extension."""
    fields = _Fields(hello)
    fields.take(_FIXED)
    for count_bytes in (1, 2, 1):  # session, cipher suites, compression methods
        fields.vector(count_bytes)
    extensions = _Fields(fields.vector(2))
    fields.end()
    found: list[bytes] | None = None
    while extensions.is_left:
        kind = int.from_bytes(extensions.take(2))
        content = extensions.vector(2)
        if kind == _ALPN:
            if found is not None:
                raise _Malformed  # no extension may come twice: RFC 8446, 4.2
            found = _protocols(content)
    return found or []


def _protocols(content: bytes) -> list[bytes]:
    fields = _Fields(content)
    names = _Fields(fields.vector(2))
    fields.end()
    found = []
    while names.is_left:
        found.append(names.vector(1))
    return found


class _Malformed(Exception):
    """A length reaches beyond what holds it, or something is left over."""


class _Fields:
    """Bytes that are taken apart from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def is_left(self) -> bool:
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise _Malformed
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def vector(self, count_bytes: int) -> bytes:
        """Return what follows a length of so many bytes."""
        return self.take(int.from_bytes(self.take(count_bytes)))

    def end(self) -> None:
        if self.is_left:
            raise _Malformed
