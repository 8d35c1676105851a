"""Our server does what gRPC's would, for a client of grpcio, and for ours."""

import select
import socket
import threading
from dataclasses import replace

import grpc
import h2.events
import pytest
from http2_peers import (
    DATA,
    END,
    HEADERS,
    LIMITS,
    WAIT_S,
    H2Peer,
    echo,
    end_of,
    fails,
    frame,
    message,
    open_call,
)
from wrong_frames import OPEN

from headtail.http2 import connection


def test_messages_of_any_size_come_back_in_their_order(multi):
    sizes = (0, 1, 100, 1 << 14, 1 << 15, 1 << 18, 3 << 20, 0)
    sent = [bytes([i]) * size for i, size in enumerate(sizes)]
    call = multi(echo)(iter(sent))
    assert sent == list(call)
    assert grpc.StatusCode.OK is call.code()


def test_a_connection_may_be_used_for_one_call_after_another(multi):
    """GRPC connects again by itself."""
    method = multi(echo)
    for i in range(5):
        assert [b"%d" % i] == list(method(iter([b"%d" % i])))


def test_answers_may_leave_together_and_from_any_thread(multi):
    sent = [bytes([i]) * (i * 500) for i in range(100)]

    def gather(frames, _context, send):
        found = list(frames)
        with_threads = [threading.Thread(target=send.many, args=(found[i::4],)) for i in range(4)]
        for thread in with_threads:
            thread.start()
        for thread in with_threads:
            thread.join(WAIT_S)
        send(None)

    got = list(multi(gather)(iter(sent)))
    assert sorted(sent) == sorted(got)
    for i in range(4):
        mine = set(sent[i::4])
        assert sent[i::4] == [content for content in got if content in mine]


def test_the_status_is_what_the_method_says(multi):
    def refuse(_frames, context, _send):
        context.set_trailing_metadata((("delay", "70"), ("blob-bin", b"\0\xff,")))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too müch: 100 %\n…")

    error = fails(multi(refuse)(iter([b"x"])))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is error.code()
    assert error.details() == "too müch: 100 %\n…"
    found = {key: value for key, value in error.trailing_metadata()}
    assert {"delay": "70", "blob-bin": b"\0\xff,"} == found


@pytest.mark.parametrize("text", ["a" * 100_000, "ü" * 100_000, "%" * 5000, "a" + "…" * 1400])
def test_a_long_text_is_cut_between_two_characters(text, multi):
    def refuse(_frames, context, _send):
        context.abort(grpc.StatusCode.INTERNAL, text)

    details = fails(multi(refuse)(iter([]))).details()
    assert text.startswith(details)
    assert len(details) >= 400


def test_a_method_that_fails_is_unknown_and_logged(multi, caplog):
    def fail(_frames, _context, _send):
        raise ZeroDivisionError("what happened")

    error = fails(multi(fail)(iter([])))
    assert grpc.StatusCode.UNKNOWN is error.code()
    assert "what happened" not in error.details()
    assert "a method failed" in caplog.text


def test_an_error_of_another_call_is_a_failure_of_the_method(multi, caplog):
    def fail(_frames, _context, _send):
        raise grpc.RpcError("of another server")

    assert grpc.StatusCode.UNKNOWN is fails(multi(fail)(iter([]))).code()
    assert "a method failed" in caplog.text


def test_a_client_that_has_not_ended_its_half_hangs_up_itself(serve, monkeypatch):
    """GRPC's client may take a socket that is closed behind a status for the status."""
    monkeypatch.setattr(connection, "_SILENT_S", WAIT_S)
    service = serve(lambda _frames, _context, _send: None)
    peer = H2Peer(socket.create_connection(service.address), is_client=True)
    peer.h2.send_headers(1, HEADERS)
    peer.flush()
    peer.until(h2.events.ConnectionTerminated)
    assert not select.select([peer.socket], [], [], 0.1)[0]


def test_a_client_that_has_ended_its_half_is_hung_up_on_at_once(serve, monkeypatch):
    monkeypatch.setattr(connection, "_SILENT_S", 2 * WAIT_S)
    peer = H2Peer(socket.create_connection(serve(echo).address), is_client=True)
    peer.h2.send_headers(1, HEADERS, end_stream=True)
    peer.flush()
    peer.until(h2.events.ConnectionTerminated)
    while not peer.is_closed:
        peer.receive()


def test_another_method_is_unimplemented(multi):
    error = fails(multi(echo, path="/test.Echo/None")(iter([b"x"])))
    assert grpc.StatusCode.UNIMPLEMENTED is error.code()
    assert "/test.Echo/None" in error.details()


def test_a_client_that_cancels_ends_the_messages(multi):
    caught: list[BaseException] = []
    begun, ended = threading.Event(), threading.Event()

    def read(frames, context, send):
        send(b"begun")
        begun.set()
        try:
            list(frames)
        except grpc.RpcError as error:
            caught.append(error)
        ended.set()

    release = threading.Event()
    call = multi(read)(iter(lambda: release.wait(WAIT_S) and None, None))
    assert b"begun" == next(call)
    call.cancel()
    release.set()
    assert ended.wait(WAIT_S)
    assert len(caught) == 1


def test_messages_that_are_there_need_no_waiting(serve):
    seen: list[bool] = []

    def look(frames, _context, send):
        first = next(frames)
        seen.append(frames.ready())
        send(first)
        assert next(frames) == b"2" * 20_000  # all three were sent together
        seen.append(frames.ready())
        assert next(frames) == b"3"
        seen.append(frames.ready())
        send(None)

    service = serve(look)
    call = open_call(service.address)
    messages = call.messages()
    call.send(b"1")
    assert b"1" == next(messages)
    call._outgoing.send_all([b"2" * 20_000, b"3"])
    assert [] == list(messages)
    assert [False, True, False] == seen


def test_a_message_that_has_come_in_part_is_waited_for(serve):
    """What came before it would else be kept until the rest is there."""
    seen: list[bool] = []
    looked = threading.Event()

    def look(frames, _context, send):
        assert next(frames) == b"1"
        seen.append(frames.ready())
        looked.set()
        assert next(frames) == b"23"
        send(None)

    host, port = serve(look).address
    with socket.create_connection((host, port)) as client:
        client.settimeout(WAIT_S)
        half = frame(DATA, 0, 1, message(b"23")[:-1])
        client.sendall(OPEN + frame(DATA, 0, 1, message(b"1")) + half)
        assert looked.wait(WAIT_S)
        client.sendall(frame(DATA, END, 1, b"3"))
    assert [False] == seen


def test_connections_over_the_limit_are_not_taken(serve):
    service = serve(echo, limits=replace(LIMITS, connections=2))
    calls = [open_call(service.address) for _ in range(2)]
    readers = [call.messages() for call in calls]
    for call, messages in zip(calls, readers, strict=True):
        call.send(b"x")
        assert b"x" == next(messages)
    third = open_call(service.address)
    assert grpc.StatusCode.UNAVAILABLE is end_of(third).code
    for call, messages in zip(calls, readers, strict=True):
        call.finish()
        assert [] == list(messages)


def test_closing_ends_every_call(serve):
    service = serve(echo)
    call = open_call(service.address)
    messages = call.messages()
    call.send(b"x")
    assert b"x" == next(messages)
    service.service.close(WAIT_S)
    assert 0 == service.service.connections
    assert [] == list(messages)
    with socket.socket() as late:
        assert not service.service.take(late)
