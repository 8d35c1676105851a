"""Messages arrive as they were sent, however frames, padding and the system cut them up."""

import socket
import struct
import threading
from contextlib import closing

import grpc
import h2.events
import hpack
import pytest
from http2_peers import (
    ANSWER,
    DATA,
    END,
    END_HEADERS,
    HEAD,
    HEADERS,
    MORE,
    PADDED,
    PING,
    PRIORITY,
    SETTINGS,
    WAIT_S,
    WINDOW,
    H2Peer,
    Service,
    echo,
    end_of,
    frame,
    message,
    open_call,
    split,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.http2.frames import PREFACE

BETWEEN = {
    "ping": (PING, 0, 0, bytes(8)),
    "settings": (SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20)),
    "window": (WINDOW, 0, 0, struct.pack(">I", 5)),
    "empty": (DATA, 0, 1, b""),
    "unknown": (77, 255, 1, b"abc"),
    "priority": (2, 0, 1, bytes(5)),
}


CONTENT = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda size, byte: bytes([byte]) * size, st.integers(0, 100_000), st.integers(0, 255)
    ),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Return messages, and frames that carry them."""
    sent = draw(st.lists(CONTENT, max_size=8))
    data = b"".join(map(message, sent))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    result = b""
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        payload, flags = data[start:stop], 0
        if payload and draw(st.booleans()):
            padding = draw(st.integers(0, 255))
            payload, flags = bytes([padding]) + payload + bytes(padding), PADDED
        result += frame(DATA, flags, 1, payload)
        for name in draw(st.lists(st.sampled_from(sorted(BETWEEN)), max_size=2)):
            result += frame(*BETWEEN[name])
    return sent, result


@st.composite
def beginnings(draw: st.DrawFn, block: bytes) -> bytes:
    """Return headers in a frame and any number of those that go on with it."""
    cuts = sorted(draw(st.lists(st.integers(1, len(block) - 1), max_size=4, unique=True)))
    parts = [block[a:b] for a, b in zip([0, *cuts], [*cuts, len(block)], strict=True)]
    first, flags = parts[0], 0 if cuts else END_HEADERS
    if draw(st.booleans()):
        first, flags = bytes(5) + first, flags | PRIORITY
    if draw(st.booleans()):
        first, flags = b"\3" + first + bytes(3), flags | PADDED
    result = frame(HEAD, flags, 1, first)
    for i, part in enumerate(parts[1:], 2):
        result += frame(MORE, END_HEADERS if i == len(parts) else 0, 1, part)
    return result


def send_in_pieces(connected: socket.socket, data: bytes, sizes: list[int]) -> None:
    """Send bytes in pieces of these sizes, the last again and again."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for size in sizes[:-1]:
        connected.sendall(data[:size])
        data = data[size:]
    connected.sendall(data)


PIECES = st.lists(st.integers(1, 70_000), min_size=1, max_size=10)


@pytest.fixture(scope="module")
def service():
    """Return a service that echoes."""
    with closing(Service(echo)) as service:
        yield service


@settings(max_examples=60)
@given(data=st.data())
def test_a_server_reads_what_was_sent(service, data):
    sent, frames = data.draw(streams())
    begin = data.draw(beginnings(hpack.Encoder().encode(HEADERS)))
    whole = PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 24)) + begin + frames
    whole += frame(WINDOW, 0, 0, struct.pack(">I", 1 << 24)) + frame(DATA, END, 1)
    with socket.create_connection(service.address) as client:
        client.settimeout(WAIT_S)
        sender = threading.Thread(target=send_in_pieces, args=(client, whole, data.draw(PIECES)))
        sender.start()
        received = b""
        while chunk := client.recv(65536):
            received += chunk
        sender.join(WAIT_S)
    echoed = b""
    while received:
        size, kind = int.from_bytes(received[:3], "big"), received[3]
        echoed += received[9 : 9 + size] if kind == DATA else b""
        received = received[9 + size :]
    assert sent == split(echoed)


@settings(max_examples=60)
@given(data=st.data())
def test_a_client_reads_what_was_sent(data):
    sent, frames = data.draw(streams())
    begin = data.draw(beginnings(hpack.Encoder().encode(ANSWER)))
    trailers = frame(HEAD, END | END_HEADERS, 1, hpack.Encoder().encode([("grpc-status", "0")]))
    whole = frame(SETTINGS, 0, 0) + begin + frames + trailers
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call = open_call(listener.getsockname())
        server, _ = listener.accept()
        with server:
            sender = threading.Thread(
                target=send_in_pieces, args=(server, whole, data.draw(PIECES))
            )
            sender.start()
            got: list[bytes] = []
            end = end_of(call, got)
            sender.join(WAIT_S)
    assert grpc.StatusCode.OK is end.code
    assert sent == got


@settings(max_examples=40)
@given(
    sent=st.lists(CONTENT, max_size=6),
    window=st.sampled_from([50, 1000, 65_535, 1 << 20]),
    largest=st.sampled_from([16_384, 20_000, 1 << 20]),
    steps=st.lists(st.integers(1, 300_000), min_size=1, max_size=5),
    is_together=st.booleans(),
)
def test_a_client_sends_what_h2_reads(sent, window, largest, steps, is_together):
    """Within any windows; h2 raises an error where one is exceeded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call = open_call(listener.getsockname())
        reader = threading.Thread(target=lambda: [*call.messages()])
        reader.start()
        server = listener.accept()[0]
        peer = H2Peer(server, is_client=False, INITIAL_WINDOW_SIZE=window, MAX_FRAME_SIZE=largest)
        for _ in range(2):
            peer.until(h2.events.SettingsAcknowledged)
        if is_together:
            call._outgoing.send_all(sent)
        else:
            for content in sent:
                call.send(content)
        call.finish()
        i = 0
        while not any(isinstance(event, h2.events.StreamEnded) for event in peer.events):
            before = len(peer.data)
            peer.receive()
            if len(peer.data) > before:
                peer.widen(max(len(peer.data) - before, steps[i % len(steps)]))
                i += 1
        call.close()
        reader.join(WAIT_S)
        server.close()
    assert sent == split(peer.data)
