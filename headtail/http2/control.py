"""Frames that carry no data: headers, settings, windows, pings, and how a call is broken off."""

import struct
import time
from collections.abc import Callable

import hpack

from headtail.http2 import frames
from headtail.http2.frames import ErrorCode, Flag, Kind, Setting
from headtail.http2.inbox import Inbox
from headtail.http2.metadata import MAX_HEADERS_BYTES, Broken, Headers, by_reset
from headtail.http2.outgoing import Outgoing

# So many of them in so short a time, and with so little data, are no call but an attack.
_FRAMES, _SECONDS, _FRAMES_BY_DATA = 1000, 10.0, 8
_HEADERS_WEIGHT = 20
_PING_BYTES = 8
OnHeaders = Callable[[int, Headers, bool], None]
"""Takes a stream, its headers, and whether they are its last."""


class Malformed(Exception):
    """What the other side may not send."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        """Say what is wrong with it."""
        super().__init__(text)
        self.code = code


class Control:
    """Does what such frames ask for."""

    def __init__(self, inbox: Inbox, outgoing: Outgoing, on_headers: OnHeaders) -> None:
        """Begin; `on_headers` is told of headers as they come."""
        self.goaway: tuple[int, str] | None = None
        """Error code and text with which the other side said that it will hang up."""
        self._inbox = inbox
        self._outgoing = outgoing
        self._on_headers = on_headers
        self._decoder = hpack.Decoder(MAX_HEADERS_BYTES)
        self.data_frames = 0
        """Received so far."""
        self._seen, self._since_s, self._data_seen = 0, time.monotonic(), 0
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            Kind.DATA: _empty,
            Kind.HEADERS: self._headers,
            Kind.PRIORITY: _pass_over,
            Kind.RST_STREAM: self._reset,
            Kind.SETTINGS: self._settings,
            Kind.PUSH_PROMISE: _refuse,
            Kind.PING: self._ping,
            Kind.GOAWAY: self._goaway,
            Kind.WINDOW_UPDATE: self._window_update,
            Kind.CONTINUATION: _refuse,
        }

    def handle(self, kind: int, flags: int, stream: int, size: int) -> bool:
        """Read a frame behind its header; return whether it ends the call's messages.

        Raises:
            Broken: If it breaks the call off.
            Malformed: If it is not as it must be.
        """
        self._keep_calm(_HEADERS_WEIGHT if kind == Kind.HEADERS else 1)
        if size > MAX_HEADERS_BYTES:
            raise Malformed(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        payload = self._inbox.take(size)
        handler = self._handlers.get(kind, _pass_over)
        try:
            handler(flags, stream, payload)
        except (struct.error, IndexError) as error:
            raise Malformed(ErrorCode.FRAME_SIZE_ERROR, "a frame that is too short") from error
        can_end = kind in (Kind.DATA, Kind.HEADERS) and stream == self._outgoing.stream
        return can_end and bool(flags & Flag.END_STREAM)

    def _keep_calm(self, weight: int) -> None:
        self._seen += weight
        if self._seen < _FRAMES:
            return
        now_s, data = time.monotonic(), self.data_frames + self._outgoing.data_frames
        is_idle = _FRAMES_BY_DATA * (data - self._data_seen) < self._seen
        if is_idle and now_s - self._since_s < _SECONDS:
            raise Malformed(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without data")
        self._seen, self._since_s, self._data_seen = 0, now_s, data

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, "headers of stream 0")
        start, stop = 0, len(payload)
        if flags & Flag.PADDED:
            start, stop = 1, stop - payload[0]
        if flags & Flag.PRIORITY:
            start += 5
        if start > stop:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
        block = payload[start:stop]
        while not flags & Flag.END_HEADERS:
            more, content = self._continuation(stream, MAX_HEADERS_BYTES - len(block))
            flags |= more & Flag.END_HEADERS
            block += content
        try:
            headers = [(str(name), str(value)) for name, value in self._decoder.decode(block)]
        except (hpack.HPACKError, UnicodeDecodeError) as error:
            raise Malformed(ErrorCode.COMPRESSION_ERROR, "headers that are malformed") from error
        self._on_headers(stream, headers, bool(flags & Flag.END_STREAM))

    def _continuation(self, stream: int, room: int) -> tuple[int, bytes]:
        """Return the flags and the content of the next frame, which goes on with headers."""
        self._keep_calm(1)
        high, low, kind, flags, number = frames.HEADER.unpack(self._inbox.take(frames.HEADER_BYTES))
        size = high << 8 | low
        if kind != Kind.CONTINUATION or number & frames.MAX_WINDOW != stream:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, "headers that are broken off")
        if not 0 < size <= room:
            raise Malformed(ErrorCode.ENHANCE_YOUR_CALM, f"headers over {MAX_HEADERS_BYTES} bytes")
        return flags, self._inbox.take(size)

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, f"settings of stream {stream}")
        if flags & Flag.ACK:
            if payload:
                raise Malformed(ErrorCode.FRAME_SIZE_ERROR, "settings that are none")
            return
        values = dict(frames.SETTING.iter_unpack(payload))
        initial = values.get(Setting.INITIAL_WINDOW_SIZE)
        largest = values.get(Setting.MAX_FRAME_SIZE)
        if initial is not None and initial > frames.MAX_WINDOW:
            raise Malformed(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too wide")
        if largest is not None and not frames.DEFAULT_MAX_FRAME <= largest <= frames.MAX_FRAME:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, f"frames of {largest} bytes")
        if not self._outgoing.obey(initial, largest, values.get(Setting.HEADER_TABLE_SIZE)):
            raise Malformed(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too wide")

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, f"a ping on stream {stream}")
        if len(payload) != _PING_BYTES:
            raise Malformed(ErrorCode.FRAME_SIZE_ERROR, f"a ping of {len(payload)} bytes")
        if not flags & Flag.ACK:
            self._outgoing.put(frames.frame(Kind.PING, Flag.ACK, 0, payload))

    def _window_update(self, _flags: int, stream: int, payload: bytes) -> None:
        (size,) = frames.LONG.unpack(payload)
        size &= frames.MAX_WINDOW
        if not size:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, "a window that grows by nothing")
        if not self._outgoing.more_room(stream, size):
            raise Malformed(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too wide")

    def _reset(self, _flags: int, stream: int, payload: bytes) -> None:
        (code,) = frames.LONG.unpack(payload)
        if not stream:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, "a reset of stream 0")
        if stream == self._outgoing.stream:
            raise Broken(by_reset(code), f"the stream was reset, HTTP/2 error {code}")

    def _goaway(self, _flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Malformed(ErrorCode.PROTOCOL_ERROR, f"a farewell of stream {stream}")
        self.goaway = frames.read_goaway(payload)


def _empty(_flags: int, stream: int, _payload: bytes) -> None:
    if not stream:
        raise Malformed(ErrorCode.PROTOCOL_ERROR, "data of stream 0")


def _pass_over(_flags: int, _stream: int, _payload: bytes) -> None:
    return


def _refuse(_flags: int, _stream: int, _payload: bytes) -> None:
    raise Malformed(ErrorCode.PROTOCOL_ERROR, "a frame out of place")
