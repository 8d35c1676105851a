"""Both ways to drive a call do the same against a server that echoes, ends, breaks off or hangs."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import pytest

from edge_agent.bytes_call import DirectCall, End, PublicCall, open_call

METHOD = "/test.Echo/Stream"
FULL, STOP, HOLD = b"full", b"stop", b"hold"


class Server:
    """Echoes messages; some of them mean something."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(4))
        handler = grpc.stream_stream_rpc_method_handler(self._echo)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", {"Stream": handler}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Vanish at once."""
        self.held.set()
        self._server.stop(None).wait()

    def _echo(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in frames:
            if message == FULL:
                context.set_trailing_metadata((("retry_delay_ms", "70"),))
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
            if message == STOP:
                return
            if message == HOLD:
                self.held.wait(20.0)
            yield message


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that runs until the test ends."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture(params=[DirectCall, PublicCall])
def call(request, server) -> Iterator[DirectCall | PublicCall]:
    """Return an open call of either kind."""
    call = request.param(grpc.insecure_channel(server.address), METHOD)
    yield call
    call.close()


def read(call: DirectCall | PublicCall, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Return what comes until it is enough; the call is then closed."""
    got: list[bytes] = []
    for message in call.messages():
        got.append(message)
        if enough(got):
            call.close()
    return got


def end_of(call: DirectCall | PublicCall) -> End:
    """Read a call to its end and return it."""
    messages = call.messages()
    while True:
        try:
            next(messages)
        except StopIteration as stop:
            return stop.value


def test_messages_of_any_size_come_back_in_their_order(call):
    sent = [
        bytes([i % 251]) * size for i, size in enumerate((0, 1, 100, 1 << 14, 1 << 18, 3 << 20))
    ]
    for message in sent:
        call.send(message)
    assert sent == read(call, lambda got: len(got) == len(sent))


def test_many_messages_may_be_sent_at_once_by_several_threads(call):
    """More than the other side takes before it is read: none waits, none is lost, each whole."""
    sent = [bytes([i]) * 50_000 for i in range(120)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call.send, sent))
    assert sorted(sent) == sorted(read(call, lambda got: len(got) == len(sent)))


def test_what_was_sent_before_the_finish_is_still_answered(call):
    for _ in range(20):
        call.send(b"x" * 70_000)
    call.finish()
    assert 20 == len(list(call.messages()))


def test_the_end_says_status_text_and_metadata(call):
    call.send(FULL)
    end = end_of(call)
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "too much") == (end.code, end.details)
    assert ("retry_delay_ms", "70") in end.trailing


def test_an_orderly_end_is_ok_and_nothing_more_can_be_sent(call):
    call.send(STOP)
    assert grpc.StatusCode.OK is end_of(call).code
    call.send(b"late")
    call.finish()
    call.close()
    assert [] == list(call.messages())


def test_a_server_that_vanishes_is_unavailable(call, server):
    call.send(HOLD)
    threading.Timer(0.05, server.stop).start()
    assert end_of(call).code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_a_call_is_closed_while_another_thread_reads_it(call):
    call.send(HOLD)
    ends: list[End] = []
    reader = threading.Thread(target=lambda: ends.append(end_of(call)))
    reader.start()
    call.close()
    reader.join(20.0)
    assert [grpc.StatusCode.CANCELLED] == [end.code for end in ends]


def test_a_call_that_nobody_reads_is_closed(call):
    call.send(b"x" * 1_000_000)
    call.close()
    call.close()
    with suppress(grpc.RpcError):
        assert [] == list(call.messages())


def test_what_is_unread_is_dropped_where_the_reader_stops(call):
    """The reader's thread has failed, say: the call ends, and its channel is freed."""
    for _ in range(5):
        call.send(b"x")
    messages = call.messages()
    next(messages)
    messages.close()
    call.send(b"y")


def test_calls_open_and_close_in_any_state(server):
    """Again and again: sent or not, finished or not, closed from here while they are read."""
    for i in range(60):
        call = DirectCall(grpc.insecure_channel(server.address), METHOD)
        reader = threading.Thread(target=lambda call=call: end_of(call))
        if i % 3:
            reader.start()
        for _ in range(i % 4):
            call.send(bytes(100_000))
        if i % 2:
            call.finish()
        call.close()
        if i % 3:
            reader.join(20.0)
            assert not reader.is_alive()


def test_this_grpcio_is_driven_directly(server):
    call = open_call(grpc.insecure_channel(server.address), METHOD)
    call.close()
    assert isinstance(call, DirectCall)


def test_another_channel_is_driven_through_the_public_interface(server):
    class Nothing(grpc.StreamStreamClientInterceptor):
        def intercept_stream_stream(self, continuation, details, requests):
            return continuation(details, requests)

    channel = grpc.intercept_channel(grpc.insecure_channel(server.address), Nothing())
    call = open_call(channel, METHOD)
    assert isinstance(call, PublicCall)
    call.send(b"x")
    assert [b"x"] == [next(iter(call.messages()))]
    call.close()
