"""The mark of our agents' streams in plaintext: a setting that only they know comes first.

HTTP/2 has everybody ignore unknown settings (RFC 9113, 6.5.2), so the same bytes are good for any
server.
"""

from fog_server.front.verdict import Verdict
from headtail.http2.frames import HEADER_BYTES, PREFACE, SETTING, Kind, Setting

_LENGTH_BYTES = 3  # RFC 9113, 4.1
# Type, no flags, stream 0; then the first setting, which is 1.
_REST = bytes([Kind.SETTINGS, 0, 0, 0, 0, 0]) + SETTING.pack(Setting.ONE_CALL, 1)
_HEAD_ENDS, _LENGTH_ENDS = len(PREFACE) + HEADER_BYTES, len(PREFACE) + _LENGTH_BYTES
MARKED_BYTES = _LENGTH_ENDS + len(_REST)
"""Bytes that tell for certain."""


def plain_verdict(data: bytes) -> Verdict | int:
    """Return whose a connection is that begins with `data`."""
    if not (data.startswith(PREFACE) or PREFACE.startswith(data)):
        return Verdict.OTHER
    # Who sends no settings may wait for ours after the head of that frame.
    if len(data) < _HEAD_ENDS:
        return _HEAD_ENDS
    length = int.from_bytes(data[len(PREFACE) : _LENGTH_ENDS])
    rest = data[_LENGTH_ENDS:MARKED_BYTES]
    if not length or length % SETTING.size or not _REST.startswith(rest):
        return Verdict.OTHER
    return Verdict.OURS if len(data) >= MARKED_BYTES else MARKED_BYTES
