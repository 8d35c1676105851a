"""Whatever a server sends, our call ends, and says how in gRPC's words."""

import random
import socket
import struct
from contextlib import suppress

import grpc
import hpack
import pytest
from http2_peers import (
    BOMB,
    DATA,
    END,
    END_HEADERS,
    GOAWAY,
    HEAD,
    PADDED,
    PING,
    PUSH,
    RST,
    SETTINGS,
    end_of,
    frame,
    message,
    open_call,
    opened,
)

from headtail.http2.metadata import End


def call_with(sent: bytes) -> End:
    """Return how a call of ours ends whose server sends these bytes, and stays."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call = open_call(listener.getsockname())
        server, _ = listener.accept()
        opened.append(server)
        with suppress(ConnectionError):
            server.sendall(sent)
        return end_of(call)


ANSWER = frame(HEAD, END_HEADERS, 1, hpack.Encoder().encode([(":status", "200")]))
SERVER_WRONG = {
    "HTTP/1": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "data of another stream": ANSWER + frame(DATA, 0, 3, b"x"),
    "a promise": ANSWER + frame(PUSH, 0, 1, bytes(4)),
    "padding": ANSWER + frame(DATA, PADDED, 1, b"\x09abc"),
    "an end within a message": ANSWER + frame(DATA, END, 1, b"\0\0\0\0\2x"),
    "headers that unfold": frame(HEAD, END_HEADERS, 1, BOMB),
    "pings": ANSWER + 1200 * frame(PING, 0, 0, bytes(8)),
    "settings": ANSWER + 1200 * frame(SETTINGS, 0, 0),
    "data of nothing": ANSWER + 1200 * frame(DATA, 0, 1),
}


@pytest.mark.parametrize("sent", SERVER_WRONG.values(), ids=SERVER_WRONG)
def test_a_server_that_breaks_the_rules_is_an_internal_error(sent):
    assert grpc.StatusCode.INTERNAL is call_with(sent).code


def headers(*pairs: tuple[str, str], is_last: bool = True) -> bytes:
    """Return a frame of headers of the call."""
    flags = END_HEADERS | (END if is_last else 0)
    return frame(HEAD, flags, 1, hpack.Encoder().encode([*pairs]))


SAID = {
    "no status": (headers((":status", "200")), "UNKNOWN", "no status"),
    "a status that is none": (headers((":status", "200"), ("grpc-status", "x")), "UNKNOWN", ""),
    "a status of the future": (headers(("grpc-status", "99")), "UNKNOWN", ""),
    "404": (headers((":status", "404")), "UNIMPLEMENTED", "received 404"),
    "503": (headers((":status", "503"), is_last=False), "UNAVAILABLE", "received 503"),
    "a page": (
        headers((":status", "200"), ("content-type", "text/html"), is_last=False),
        "UNKNOWN",
        "text/html",
    ),
    "an end without a status": (ANSWER + frame(DATA, END, 1), "UNKNOWN", "no status"),
    "a refusal": (frame(RST, 0, 1, b"\0\0\0\7"), "UNAVAILABLE", "HTTP/2 error 7"),
    "a reset": (frame(RST, 0, 1, b"\0\0\0\x08"), "CANCELLED", "HTTP/2 error 8"),
    "too large": (ANSWER + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff"), "RESOURCE_EXHAUSTED", "4194"),
    "compressed": (ANSWER + frame(DATA, 0, 1, b"\1\0\0\0\0"), "UNIMPLEMENTED", "compression"),
}


@pytest.mark.parametrize(("sent", "code", "text"), SAID.values(), ids=SAID)
def test_an_end_without_grpc_is_told_in_its_words(sent, code, text):
    end = call_with(sent)
    assert code == end.code.name
    assert text in end.details


def test_a_farewell_says_why_the_connection_ends():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call = open_call(listener.getsockname())
        with listener.accept()[0] as server:
            server.sendall(ANSWER + frame(GOAWAY, 0, 0, struct.pack(">II", 1, 11) + b"too_many"))
            server.sendall(frame(DATA, 0, 1, message(b"still")))
            server.shutdown(socket.SHUT_WR)
            got: list[bytes] = []
            end = end_of(call, got)
    assert got == [b"still"]
    assert (grpc.StatusCode.UNAVAILABLE, "hung up with HTTP/2 error 11 too_many") == (
        end.code,
        end.details,
    )


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_no_answer(seed):
    rng = random.Random(seed)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call = open_call(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.sendall(ANSWER)
            for _ in range(20):
                kind, flags = rng.randrange(12), rng.randrange(256)
                server.sendall(frame(kind, flags, rng.choice((0, 1)), rng.randbytes(20)))
            server.shutdown(socket.SHUT_WR)
            assert end_of(call).code is not grpc.StatusCode.OK
