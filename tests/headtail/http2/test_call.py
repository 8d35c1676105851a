"""Our client does what gRPC's would, against a server of grpcio."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from http2_peers import FULL, HOLD, STOP, WAIT_S, GrpcServer, end_of, open_call

from headtail.http2.call import Patience, StreamCall
from headtail.http2.metadata import End
from headtail.http2.transport import describe, set_patience

PATIENCE = Patience(WAIT_S, WAIT_S, WAIT_S)


@pytest.fixture
def server() -> Iterator[GrpcServer]:
    """Return a server that runs until the test ends."""
    server = GrpcServer()
    yield server
    server.stop()


@pytest.fixture
def call(server) -> Iterator[StreamCall]:
    """Return an open call."""
    call = open_call(server.address)
    yield call
    call.close()


def read(call: StreamCall, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Return what comes until it is enough; the call is then closed."""
    got: list[bytes] = []
    for message in call.messages():
        got.append(bytes(message))
        if enough(got):
            call.close()
    return got


def test_messages_of_any_size_come_back_in_their_order(call):
    sizes = (0, 1, 5, 100, 1 << 14, (1 << 14) + 1, 1 << 15, (1 << 15) + 1, 1 << 18, 3 << 20, 0)
    sent = [bytes([i]) * size for i, size in enumerate(sizes)]
    for message in sent:
        call.send(message)
    assert sent == read(call, lambda got: len(got) == len(sent))


def test_message_in_two_parts_is_one_message(call):
    """Whether it fits the windows and the socket's buffer, or waits in part."""
    sizes = [(a, b) for a in (0, 300) for b in (0, 1, 1 << 14, 1 << 18, 3 << 20)]
    sent = [(b"h" * a, memoryview(bytes([i]) * b)) for i, (a, b) in enumerate(sizes)]
    for message, body in sent:
        call.send(message, body)
    expected = [message + bytes(body) for message, body in sent]
    assert expected == read(call, lambda got: len(got) == len(sent))


def test_many_messages_may_be_sent_at_once_by_several_threads(call):
    """More than the other side takes before it is read: none waits, none is lost, each whole."""
    sent = [bytes([i]) * 50_000 for i in range(120)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call.send, sent))
    assert sorted(sent) == sorted(read(call, lambda got: len(got) == len(sent)))


def test_thousands_of_small_messages_are_no_attack_of_the_server(call):
    """It renews its windows and pings as it likes while there is data."""
    count = 4000
    sender = threading.Thread(target=lambda: [call.send(b"x" * 5000) for _ in range(count)])
    sender.start()
    got = read(call, lambda got: len(got) == count)
    sender.join(WAIT_S)
    assert count == len(got)


def test_what_was_sent_before_the_finish_is_still_answered(call):
    for _ in range(20):
        call.send(b"x" * 70_000)
    call.finish()
    call.send(b"late")
    assert 20 == len(list(call.messages()))


def test_the_end_says_status_text_and_metadata(call):
    call.send(FULL)
    end = end_of(call)
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "too müch: 100 %\n…") == (end.code, end.details)
    assert {"delay": "70", "blob-bin": b"\0\xff,"} == dict(end.trailing)


def test_an_orderly_end_is_ok_and_nothing_more_can_be_sent(call):
    call.send(STOP)
    assert grpc.StatusCode.OK is end_of(call).code
    call.send(b"late")
    call.finish()
    call.close()
    assert [] == list(call.messages())


def test_a_method_that_is_not_there_is_unimplemented(server):
    call = StreamCall(server.address, "/test.Echo/None", None, PATIENCE, 1 << 20)
    assert grpc.StatusCode.UNIMPLEMENTED is end_of(call).code


def test_a_server_that_vanishes_is_unavailable(call, server):
    call.send(HOLD)
    stopper = threading.Thread(target=lambda: server.is_held.wait(WAIT_S) and server.stop())
    stopper.start()
    assert end_of(call).code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    stopper.join(WAIT_S)


def test_a_port_where_nobody_listens_is_an_error_of_the_system(server):
    server.stop()
    with pytest.raises(OSError, match="refused"):
        open_call(server.address)


def test_a_call_is_closed_while_another_thread_reads_it(call, server):
    call.send(HOLD)
    ends: list[End] = []
    reader = threading.Thread(target=lambda: ends.append(end_of(call)))
    reader.start()
    assert server.is_held.wait(WAIT_S)
    call.close()
    reader.join(WAIT_S)
    assert [grpc.StatusCode.CANCELLED] == [end.code for end in ends]


def test_a_call_that_nobody_reads_is_closed(call):
    call.send(b"x" * 1_000_000)
    call.close()
    call.close()
    assert [] == list(call.messages())


def test_what_is_unread_is_dropped_where_the_reader_stops(call):
    """The reader's thread has failed, say: the call ends, and its socket is freed."""
    for _ in range(5):
        call.send(b"x")
    messages = call.messages()
    next(messages)
    messages.close()
    call.send(b"y")
    assert [] == list(call.messages())


def test_calls_open_and_close_in_any_state(server):
    """Again and again: sent or not, finished or not, closed from here while they are read."""
    before = len([*Path("/proc/self/fd").iterdir()])
    for i in range(60):
        call = open_call(server.address)
        reader = threading.Thread(target=end_of, args=(call,))
        if i % 3:
            reader.start()
        for _ in range(i % 4):
            call.send(bytes(300_000))
        if i % 2:
            call.finish()
        call.close()
        if i % 3:
            reader.join(WAIT_S)
            assert not reader.is_alive()
    for thread in threading.enumerate():
        if thread.name == "http2-flusher":
            thread.join(WAIT_S)
            assert not thread.is_alive()
    server.stop()  # its ends of the connections are in this process, too
    stop_s = time.monotonic() + WAIT_S
    while len([*Path("/proc/self/fd").iterdir()]) > before + 5:
        assert time.monotonic() < stop_s, "descriptors stay open"
        time.sleep(0.01)  # paces the looking


def test_a_name_that_nobody_knows_is_said_in_words():
    """The resolver's numbers are not the system's."""
    with pytest.raises(OSError, match=r".") as caught:
        open_call(("no.such.host.invalid", 1))
    assert caught.value.strerror == describe(caught.value)


class Kernel:
    """A socket of a system that writes times in so many bytes."""

    def __init__(self, size: int) -> None:
        self.value = bytes(size)

    def getsockopt(self, _level: int, _option: int, room: int) -> bytes:
        """Return the time, which has room."""
        assert len(self.value) <= room
        return self.value

    def setsockopt(self, _level: int, _option: int, value: bytes) -> None:
        """Take a time as long as this system's."""
        assert len(self.value) == len(value)
        self.value = value


@pytest.mark.parametrize("size", [8, 16])
def test_patience_is_written_as_the_system_has_it(size):
    """On 32 bits it is 8 bytes, or 16 where times reach beyond 2038 (Debian's armhf from 13 on)."""
    kernel = Kernel(size)
    set_patience(kernel, 2.5)
    half = size // 2
    parts = kernel.value[:half], kernel.value[half:]
    assert [2, 500_000] == [int.from_bytes(part, sys.byteorder) for part in parts]
