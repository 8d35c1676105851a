"""A method is told of its call, and tells of its end, as by gRPC."""

import socket
import threading

import grpc
import h2.events
from http2_peers import HEADERS, WAIT_S, H2Peer, echo, fails


def test_a_status_may_be_set_before_the_last_message(multi):
    def warn(frames, context, send):
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("some")
        for content in frames:
            send(content)
        assert (grpc.StatusCode.DATA_LOSS, "some") == (context.code(), context.details())
        send(None)
        send(b"late")

    call = multi(warn)(iter([b"x"]))
    assert b"x" == next(call)
    error = fails(call)
    assert (grpc.StatusCode.DATA_LOSS, "some") == (error.code(), error.details())


def test_abort_with_ok_is_no_success(multi):
    def refuse(_frames, context, _send):
        context.abort(grpc.StatusCode.OK, "fine")

    assert grpc.StatusCode.UNKNOWN is fails(multi(refuse)(iter([]))).code()


def test_initial_metadata_comes_before_the_first_message_or_not_at_all(multi):
    late: list[str] = []

    def greet(frames, context, send):
        context.send_initial_metadata((("hello", "there"), ("raw-bin", b"\1")))
        for content in frames:
            send(content)
        try:
            context.send_initial_metadata(())
        except ValueError as error:
            late.append(str(error))

    call = multi(greet)(iter([b"x"]))
    found = {key: value for key, value in call.initial_metadata()}
    assert ("there", b"\1") == (found["hello"], found["raw-bin"])
    assert [b"x"] == list(call)
    assert late == ["expected initial metadata before the first message"]


GRPC_ROUNDS_UP_S = 0.1
"""A client of gRPC sends a time of 10 to 100 s in tenths, and more of them rather than fewer."""


def test_the_context_knows_peer_metadata_and_time(multi):
    seen = {}

    def look(_frames, context, _send):
        seen["peer"] = context.peer()
        seen["metadata"] = [
            (key, value)
            for key, value in context.invocation_metadata()
            if key in ("one", "two-bin") or key.startswith("grpc-")
        ]
        seen["left"] = context.time_remaining()
        seen["auth"] = context.auth_context()

    metadata = (("one", "1"), ("two-bin", b"\2,"), ("one", "again"))
    list(multi(look)(iter([]), metadata=metadata, timeout=WAIT_S))
    assert seen["peer"].startswith("ipv4:127.0.0.1:")
    assert sorted(metadata) == sorted(seen["metadata"])
    assert 0 < seen["left"] <= WAIT_S + GRPC_ROUNDS_UP_S
    assert {} == seen["auth"]


def test_a_call_without_deadline_has_all_the_time(multi):
    seen = []
    list(multi(lambda _f, context, _s: seen.append(context.time_remaining()))(iter([])))
    assert seen == [None]


def test_reading_ends_at_the_deadline(serve):
    """The client does not hang up: it is the server that ends the call."""
    service = serve(echo)
    peer = H2Peer(socket.create_connection(service.address), is_client=True)
    peer.h2.send_headers(1, [*HEADERS, ("grpc-timeout", "20m")])
    peer.flush()
    trailers = dict(peer.until(h2.events.TrailersReceived).headers)
    assert str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0]) == trailers["grpc-status"]


def test_the_end_is_told_to_who_asked(multi, caplog):
    over = threading.Event()
    answers = []

    def ask(_frames, context, _send):
        context.add_callback(lambda: 1 / 0)
        answers.append(context.add_callback(over.set))
        answers.append(context.is_active())
        contexts.append(context)

    contexts: list[grpc.ServicerContext] = []
    list(multi(ask)(iter([])))
    assert over.wait(WAIT_S)
    assert [True, True] == answers
    assert "a callback at the end of a call failed" in caplog.text
    late = contexts[0]
    assert (False, False, False) == (late.is_active(), late.add_callback(over.set), late.cancel())


def test_a_call_is_cancelled_from_another_thread(multi):
    def wait(frames, context, _send):
        threading.Thread(target=context.cancel).start()
        list(frames)

    assert fails(multi(wait)(iter(threading.Event().wait, None))).code() in (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
    )
