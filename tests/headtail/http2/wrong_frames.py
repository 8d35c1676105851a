"""What breaks the rules of HTTP/2, and what a client is told that does so."""

import struct

import hpack
from http2_peers import (
    BOMB,
    DATA,
    END,
    END_HEADERS,
    GOAWAY,
    HEAD,
    HEADERS,
    MORE,
    PADDED,
    PING,
    PRIORITY,
    PUSH,
    RST,
    SETTINGS,
    WINDOW,
    frame,
    message,
)

from headtail.http2.frames import PREFACE

REQUEST = hpack.Encoder().encode(HEADERS)
OPEN = PREFACE + frame(SETTINGS, 0, 0) + frame(HEAD, END_HEADERS, 1, REQUEST)
WRONG = {
    "no preface": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PROTOCOL_ERROR"),
    "data before headers": (PREFACE + frame(DATA, 0, 1, b"x"), "STREAM_CLOSED"),
    "data of stream 0 before headers": (PREFACE + frame(DATA, 0, 0, b"x"), "PROTOCOL_ERROR"),
    "nothing of stream 0 before headers": (PREFACE + frame(DATA, 0, 0), "PROTOCOL_ERROR"),
    "an answer to settings that says more": (
        OPEN + frame(SETTINGS, 1, 0, bytes(6)),
        "FRAME_SIZE_ERROR",
    ),
    "a farewell of a stream": (OPEN + frame(GOAWAY, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    "a call on an even stream": (
        PREFACE + frame(HEAD, END_HEADERS, 2, REQUEST),
        "PROTOCOL_ERROR",
    ),
    "headers of stream 0": (PREFACE + frame(HEAD, END_HEADERS, 0, REQUEST), "PROTOCOL_ERROR"),
    "data of stream 0": (OPEN + frame(DATA, 0, 0, b"x"), "PROTOCOL_ERROR"),
    "data of another stream": (OPEN + frame(DATA, 0, 3, b"x"), "STREAM_CLOSED"),
    "more padding than data": (OPEN + frame(DATA, PADDED, 1, b"\x09abc"), "PROTOCOL_ERROR"),
    "more padding than headers": (
        PREFACE + frame(HEAD, PADDED | END_HEADERS, 1, b"\xff" + REQUEST),
        "PROTOCOL_ERROR",
    ),
    "headers without their priority": (
        PREFACE + frame(HEAD, PRIORITY | END_HEADERS, 1, b"abc"),
        "PROTOCOL_ERROR",
    ),
    "padded headers of nothing": (
        PREFACE + frame(HEAD, PADDED | END_HEADERS, 1),
        "FRAME_SIZE_ERROR",
    ),
    "data between headers": (
        PREFACE + frame(HEAD, 0, 1, REQUEST[:4]) + frame(DATA, 0, 1, b"x"),
        "PROTOCOL_ERROR",
    ),
    "a continuation of nothing": (OPEN + frame(MORE, END_HEADERS, 1, b"x"), "PROTOCOL_ERROR"),
    "a continuation of another stream": (
        PREFACE + frame(HEAD, 0, 1, REQUEST[:4]) + frame(MORE, END_HEADERS, 3, REQUEST[4:]),
        "PROTOCOL_ERROR",
    ),
    "headers that are none": (
        PREFACE + frame(HEAD, END_HEADERS, 1, b"\xff" * 50),
        "COMPRESSION_ERROR",
    ),
    "headers that unfold": (PREFACE + frame(HEAD, END_HEADERS, 1, BOMB), "COMPRESSION_ERROR"),
    "headers too large": (
        PREFACE + frame(HEAD, END_HEADERS, 1, bytes(20_000)),
        "FRAME_SIZE_ERROR",
    ),
    "continuations for ever": (
        PREFACE + frame(HEAD, 0, 1, REQUEST) + 17 * frame(MORE, 0, 1, bytes(1000)),
        "ENHANCE_YOUR_CALM",
    ),
    "continuations of a byte": (
        PREFACE + frame(HEAD, 0, 1, REQUEST) + 1200 * frame(MORE, 0, 1, b"x"),
        "ENHANCE_YOUR_CALM",
    ),
    "continuations of nothing": (
        PREFACE + frame(HEAD, 0, 1, REQUEST) + frame(MORE, 0, 1),
        "ENHANCE_YOUR_CALM",
    ),
    "pings": (OPEN + 1200 * frame(PING, 0, 0, bytes(8)), "ENHANCE_YOUR_CALM"),
    "settings": (OPEN + 1200 * frame(SETTINGS, 0, 0), "ENHANCE_YOUR_CALM"),
    "resets": (OPEN + 1200 * frame(RST, 0, 3, bytes(4)), "ENHANCE_YOUR_CALM"),
    "data of nothing": (OPEN + 1200 * frame(DATA, 0, 1), "ENHANCE_YOUR_CALM"),
    "unknown frames": (OPEN + 1200 * frame(99, 0, 1, b"x"), "ENHANCE_YOUR_CALM"),
    "calls for ever": (
        OPEN + b"".join(frame(HEAD, END_HEADERS, 3 + 2 * i, REQUEST) for i in range(100)),
        "ENHANCE_YOUR_CALM",
    ),
    "windows": (OPEN + 1200 * frame(WINDOW, 0, 0, b"\0\0\0\1"), "ENHANCE_YOUR_CALM"),
    "a window that is too wide": (
        OPEN + frame(WINDOW, 0, 1, b"\x7f\xff\xff\xff"),
        "FLOW_CONTROL_ERROR",
    ),
    "a window by a setting": (
        OPEN + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
        "FLOW_CONTROL_ERROR",
    ),
    "a window by both": (
        OPEN
        + frame(WINDOW, 0, 1, struct.pack(">I", (1 << 31) - 65_536))
        + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 70_000)),
        "FLOW_CONTROL_ERROR",
    ),
    "a window that grows by nothing": (OPEN + frame(WINDOW, 0, 1, bytes(4)), "PROTOCOL_ERROR"),
    "frames too small": (
        OPEN + frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 100)),
        "PROTOCOL_ERROR",
    ),
    "half a setting": (OPEN + frame(SETTINGS, 0, 0, b"abc"), "FRAME_SIZE_ERROR"),
    "settings of a stream": (OPEN + frame(SETTINGS, 0, 1), "PROTOCOL_ERROR"),
    "half a ping": (OPEN + frame(PING, 0, 0, b"abc"), "FRAME_SIZE_ERROR"),
    "half a window": (OPEN + frame(WINDOW, 0, 0, b"ab"), "FRAME_SIZE_ERROR"),
    "half a reset": (OPEN + frame(RST, 0, 1, b"ab"), "FRAME_SIZE_ERROR"),
    "half a farewell": (OPEN + frame(GOAWAY, 0, 0, b"ab"), "FRAME_SIZE_ERROR"),
    "a promise": (OPEN + frame(PUSH, 0, 1, bytes(4) + REQUEST), "PROTOCOL_ERROR"),
    "an end within a message": (
        OPEN + frame(DATA, END, 1, message(b"abc")[:-1]),
        "PROTOCOL_ERROR",
    ),
    "an end within a prefix": (OPEN + frame(DATA, END, 1, b"\0\0"), "PROTOCOL_ERROR"),
    "an empty end within a prefix": (
        OPEN + frame(DATA, 0, 1, b"\0\0") + frame(DATA, END, 1),
        "PROTOCOL_ERROR",
    ),
    "data after the end": (
        OPEN + frame(DATA, END, 1, message(b"a")) + frame(DATA, 0, 1, message(b"b")),
        None,
    ),
}
"""What a client sends, and the error code that it is told; None where the call has ended before."""
