"""What the other side's windows, frames and sockets permit is what is sent; h2 raises otherwise."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace

import grpc
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest
from http2_peers import (
    ANSWER,
    HEADERS,
    LIMITS,
    WAIT_S,
    H2Peer,
    Service,
    echo,
    end_of,
    message,
    open_call,
    opened,
    split,
)

WINDOW, FRAME = (
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE,
    h2.settings.SettingCodes.MAX_FRAME_SIZE,
)
SIZES = (0, 1, 99, 100, 101, 5000, 70_000)
SENT = [bytes([65 + i]) * size for i, size in enumerate(SIZES)]
STREAM = b"".join(map(message, SENT))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return where h2 serves."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def connect(listener: socket.socket, receive_buffer: int = 0, **settings: int):
    """Return a call that is being read, and the server driven by h2, whose settings it knows."""
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    call = open_call(listener.getsockname())
    peer = H2Peer(listener.accept()[0], is_client=False, **settings)
    reader = threading.Thread(target=end_of, args=(call,))
    opened.insert(0, Joining(reader))
    reader.start()
    for _ in range(2 if settings else 1):
        peer.until(h2.events.SettingsAcknowledged)
    return call, peer


class Joining:
    """A thread that ends once a call is closed."""

    def __init__(self, thread: threading.Thread) -> None:
        self.close = lambda: thread.join(WAIT_S)


@pytest.mark.parametrize(("window", "step"), [(1, 1), (100, 100), (65_535, 30_000)])
def test_a_client_keeps_to_small_windows(window, step, listener):
    call, peer = connect(listener, INITIAL_WINDOW_SIZE=window)
    if window == 1:  # a byte at a time takes a while
        sent, stream = SENT[:5], b"".join(map(message, SENT[:5]))
    else:
        sent, stream = SENT, STREAM
    for content in sent:
        call.send(content)
    call.finish()
    seen = 0
    while len(peer.data) < len(stream):
        peer.receive()
        new, seen = len(peer.data) - seen, len(peer.data)
        if new:
            peer.widen(max(new, step))
    assert sent == split(peer.data)
    peer.until(h2.events.StreamEnded)


def test_a_window_that_shrinks_below_zero_is_obeyed_once_it_is_acknowledged(listener):
    """What was sent before the acknowledgement counts against the old window, the rest waits."""
    call, peer = connect(listener, INITIAL_WINDOW_SIZE=60_000)
    for content in SENT:
        call.send(content)
    peer.receive_data(60_000)
    peer.h2.update_settings({WINDOW: 10})
    peer.flush()
    peer.until(h2.events.SettingsAcknowledged)
    while not any(isinstance(e, h2.events.PingAckReceived) for e in peer.events):
        peer.h2.ping(b"12345678")
        peer.flush()
        peer.receive()
    assert len(peer.data) == 60_000  # 59990 bytes below zero
    peer.h2.increment_flow_control_window(60_000)
    peer.h2.increment_flow_control_window(59_990 + 7, 1)
    peer.flush()
    peer.receive_data(60_007)
    peer.h2.update_settings({WINDOW: 1 << 20})
    peer.h2.increment_flow_control_window(1 << 20)
    peer.flush()
    peer.receive_data(len(STREAM))
    assert SENT == split(peer.data)


def test_frames_are_as_large_as_permitted(listener):
    call, peer = connect(listener, INITIAL_WINDOW_SIZE=1 << 24)
    peer.h2.increment_flow_control_window(1 << 24)
    peer.h2.update_settings({FRAME: 20_000})
    peer.flush()
    peer.until(h2.events.SettingsAcknowledged)
    call.send(bytes(100_000))
    peer.receive_data(100_005)
    sizes = [len(e.data) for e in peer.events if isinstance(e, h2.events.DataReceived)]
    assert max(sizes) == 20_000


def test_headers_say_that_no_table_is_used_where_the_other_side_keeps_none(listener):
    with closing(Service(echo)) as service:
        peer = H2Peer(
            socket.create_connection(service.address), is_client=True, HEADER_TABLE_SIZE=0
        )
        peer.until(h2.events.SettingsAcknowledged)
        peer.h2.send_headers(1, HEADERS, end_stream=True)
        peer.flush()
        assert ("grpc-status", "0") in peer.until(h2.events.TrailersReceived).headers


def test_the_client_never_waits_for_a_server_that_does_not_read(listener):
    """What is sent stays in memory, in its order, until it is taken."""
    call, peer = connect(listener, 4096, INITIAL_WINDOW_SIZE=1 << 24)
    peer.h2.increment_flow_control_window(1 << 24)
    peer.flush()
    sent = [bytes([i]) * 300_000 for i in range(10)]
    for content in sent:
        call.send(content)
    call.finish()
    peer.until(h2.events.StreamEnded)
    assert sent == split(peer.data)


@pytest.mark.parametrize("window", [1, 100, 65_535])
def test_a_server_keeps_to_small_windows_and_reads_while_it_waits(window):
    """The thread that answers is the one that reads; messages that come meanwhile are kept."""
    with closing(Service(echo)) as service:
        peer = H2Peer(
            socket.create_connection(service.address), is_client=True, INITIAL_WINDOW_SIZE=window
        )
        peer.h2.send_headers(1, HEADERS)
        sent = SENT[: 4 if window == 1 else 6]
        for content in sent:
            peer.h2.send_data(1, message(content))
        peer.h2.end_stream(1)
        peer.flush()
        seen = 0
        while not any(isinstance(e, h2.events.StreamEnded) for e in peer.events):
            peer.receive()
            new, seen = len(peer.data) - seen, len(peer.data)
            if new:
                peer.widen(new)
        assert sent == split(peer.data)


def test_a_server_waits_while_nothing_is_taken_from_any_thread():
    """With a socket of few bytes: `send` returns once the client has made room."""
    sent = [bytes([i]) * 50_000 for i in range(12)]
    passed = []

    def answer(frames, _context, send):
        next(frames)
        threads = [
            threading.Thread(target=lambda i=i: [send(c) for c in sent[i::2]]) for i in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        passed.append(True)
        send(None)

    with closing(Service(answer, send_buffer=4096)) as service:
        call = open_call(service.address)
        call.send(b"go")
        got = [bytes(content) for content in call.messages()]
        assert sorted(sent) == sorted(got)
        assert [sent[0::2], sent[1::2]] == [[c for c in got if c[0] % 2 == i] for i in range(2)]
        assert passed == [True]


def test_a_client_that_takes_nothing_is_given_up():
    limits = replace(LIMITS, keepalive_s=0.5, ping_timeout_s=0.5, linger_s=0.05)
    ended = threading.Event()

    def answer(frames, context, send):
        try:
            for _ in range(100):
                send(bytes(1 << 20))
        finally:
            assert not context.is_active()
            ended.set()

    with closing(Service(answer, limits, send_buffer=4096)) as service:
        call = open_call(service.address)
        assert ended.wait(WAIT_S)
        call.close()


def test_a_window_that_stays_shut_is_given_up_by_threads_that_do_not_read():
    limits = replace(LIMITS, keepalive_s=0.5, ping_timeout_s=0.5, linger_s=0.05)
    ended = threading.Event()

    def answer(frames, context, send):
        def late():
            send(bytes(100))
            ended.set()

        thread = threading.Thread(target=late)
        thread.start()
        thread.join(WAIT_S)

    with closing(Service(answer, limits)) as service:
        peer = H2Peer(
            socket.create_connection(service.address), is_client=True, INITIAL_WINDOW_SIZE=0
        )
        peer.h2.send_headers(1, HEADERS)
        peer.flush()
        assert ended.wait(WAIT_S)


def test_what_is_read_while_nothing_is_taken_is_bounded():
    """A client that sends on and on, and never lets us send the first answer."""
    limits = replace(LIMITS, message_bytes=1 << 16, linger_s=0.2)
    with closing(Service(echo, limits)) as service:
        peer = H2Peer(
            socket.create_connection(service.address), is_client=True, INITIAL_WINDOW_SIZE=0
        )
        peer.h2.send_headers(1, HEADERS)
        peer.until(h2.events.SettingsAcknowledged)
        for _ in range(20):
            peer.h2.send_data(1, message(bytes(3000)))
        peer.flush()
        with suppress(h2.exceptions.ProtocolError):
            for _ in range(5):
                peer.h2.send_data(1, message(bytes(3000)))
        peer.flush()
        ended = peer.until(h2.events.ConnectionTerminated)
        assert h2.errors.ErrorCodes.ENHANCE_YOUR_CALM == ended.error_code


def test_more_room_than_there_is_room_for_is_an_error(listener):
    call = open_call(listener.getsockname())
    with listener.accept()[0] as server:
        server.sendall(b"\0\0\4\10\0\0\0\0\0\x7f\xff\xff\xff")
        end = end_of(call)
    assert (grpc.StatusCode.INTERNAL, "HTTP/2: a window that is too wide") == (
        end.code,
        end.details,
    )


def test_a_call_ended_by_the_server_is_closed(listener):
    call = open_call(listener.getsockname())
    peer = H2Peer(listener.accept()[0], is_client=False)
    peer.until(h2.events.RequestReceived)
    peer.h2.send_headers(1, ANSWER)
    peer.h2.send_headers(1, [("grpc-status", "0")], end_stream=True)
    peer.flush()
    assert grpc.StatusCode.OK is end_of(call).code
    with suppress(ConnectionError, h2.exceptions.ProtocolError):
        while not peer.is_closed:
            peer.receive()
