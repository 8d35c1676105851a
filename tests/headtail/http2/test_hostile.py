"""Whoever breaks the rules is told so and hung up on; nothing hangs, nothing is left over."""

import itertools
import random
import socket
import struct
import threading
import tracemalloc
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace

import grpc
import h2.errors
import h2.events
import pytest
from http2_peers import (
    DATA,
    END,
    END_HEADERS,
    GOAWAY,
    HEAD,
    HEADERS,
    LIMITS,
    MAX_BYTES,
    PING,
    RST,
    WAIT_S,
    H2Peer,
    Service,
    echo,
    frame,
    message,
    open_call,
)
from wrong_frames import OPEN, REQUEST, WRONG

from headtail.http2.frames import PREFACE
from headtail.http2.outgoing import Outgoing
from headtail.http2.transport import Plain

QUICK = replace(LIMITS, linger_s=0.3)
CODE = {code.name: code.value for code in h2.errors.ErrorCodes}


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a service that is left without a connection."""
    with closing(Service(echo, QUICK)) as service:
        yield service


def attack(service: Service, sent: bytes) -> bytes:
    """Send bytes and return all that comes back until the server hangs up."""
    received = b""
    with socket.create_connection(service.address) as client:
        client.settimeout(WAIT_S)
        with suppress(ConnectionError):
            client.sendall(sent)
        with suppress(ConnectionError):
            while data := client.recv(65536):
                received += data
    return received


def frames_in(received: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return kind, flags, stream and payload of each frame."""
    found = []
    while received:
        size = int.from_bytes(received[:3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", received, 3)
        found.append((kind, flags, stream, received[9 : 9 + size]))
        received = received[9 + size :]
    return found


def is_served(service: Service) -> bool:
    """Return whether the service goes on."""
    call = open_call(service.address)
    call.send(b"still there")
    call.finish()
    return [b"still there"] == [bytes(m) for m in call.messages()]


@pytest.mark.parametrize(("sent", "code"), WRONG.values(), ids=WRONG)
def test_a_client_that_breaks_the_rules_is_told_why(sent, code, service, caplog):
    found = frames_in(attack(service, sent))
    farewells = [struct.unpack_from(">II", p)[1] for k, _, _, p in found if k == GOAWAY]
    if code is not None:
        assert [CODE[code]] == farewells
    assert is_served(service)
    assert "broken off" not in caplog.text


def test_a_second_call_is_refused_and_the_first_goes_on(service):
    second = frame(HEAD, END_HEADERS, 3, REQUEST)
    sent = OPEN + second + frame(DATA, END, 1, message(b"x"))
    found = frames_in(attack(service, sent))
    assert (RST, 0, 3, struct.pack(">I", CODE["REFUSED_STREAM"])) in found
    assert message(b"x") in [payload for kind, _, _, payload in found if kind == DATA]


@pytest.mark.parametrize(
    ("prefix", "status"),
    [
        (b"\1\0\0\0\1x", grpc.StatusCode.UNIMPLEMENTED),
        (struct.pack(">BI", 0, MAX_BYTES + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["compressed", "too large"],
)
def test_a_message_that_is_not_taken_ends_the_call_with_a_status(prefix, status, service):
    peer = H2Peer(socket.create_connection(service.address), is_client=True)
    peer.h2.send_headers(1, HEADERS)
    peer.h2.send_data(1, prefix)
    peer.flush()
    trailers = dict(peer.until(h2.events.TrailersReceived).headers)
    assert str(status.value[0]) == trailers["grpc-status"]


def test_a_client_that_says_nothing_is_hung_up_on():
    """At whatever point of its beginning."""
    limits = replace(QUICK, handshake_s=0.05)
    with closing(Service(echo, limits)) as service:
        for sent in (b"", PREFACE[:5], PREFACE, OPEN[:-1]):
            attack(service, sent)
        with closing(socket.create_connection(service.address)) as slow:
            slow.settimeout(WAIT_S)
            with suppress(ConnectionError):
                for byte in PREFACE + 10_000 * frame(PING, 0, 0, bytes(8)):
                    slow.sendall(bytes([byte]))


def test_a_client_that_never_hangs_up_is_hung_up_on(service):
    found = frames_in(attack(service, OPEN + frame(DATA, END, 1, message(b"x"))))
    assert message(b"x") in [payload for kind, _, _, payload in found if kind == DATA]
    assert any(kind == HEAD and flags & END for kind, flags, _, _ in found)


def test_a_client_that_sends_for_ever_after_the_end_is_hung_up_on():
    def refuse(_frames, context, _send):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

    with (
        closing(Service(refuse, QUICK)) as service,
        socket.create_connection(service.address) as client,
    ):
        client.sendall(OPEN)
        forever = itertools.repeat(frame(DATA, 0, 1, bytes(10_000)))
        with pytest.raises(ConnectionError):
            deque(map(client.sendall, forever), 0)


def test_a_message_that_is_only_announced_takes_no_memory():
    limits = replace(QUICK, message_bytes=1 << 30)
    begun = threading.Event()

    def read(frames, _context, send):
        begun.set()
        list(frames)

    with closing(Service(read, limits)) as service:
        tracemalloc.start()
        try:
            with socket.create_connection(service.address) as client:
                prefix = struct.pack(">BI", 0, 1 << 30)
                client.sendall(OPEN + b"\xff\xff\xff\0\0\0\0\0\1" + prefix + bytes(3 << 20))
                assert begun.wait(WAIT_S)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(WAIT_S)
                with suppress(ConnectionError):
                    while client.recv(65536):
                        pass
            assert tracemalloc.get_traced_memory()[1] < 32 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_no_call(seed, service, caplog):
    """Behind a beginning that is right, sometimes with a frame's header that is."""
    rng = random.Random(seed)
    sent = [b"", PREFACE, OPEN][seed % 3]
    for _ in range(20):
        junk = rng.randbytes(rng.randrange(60))
        kind, flags, stream = rng.randrange(12), rng.randrange(256), rng.choice((0, 1, 1, 3))
        sent += frame(kind, flags, stream, junk) if rng.random() < 0.9 else junk
    with closing(socket.create_connection(service.address)) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(WAIT_S)
        with suppress(ConnectionError):
            while client.recv(65536):
                pass
    assert is_served(service)
    assert "broken off" not in caplog.text


def test_answers_that_are_not_taken_are_kept_up_to_a_bound():
    """Else whoever asks and never reads would have all of our memory."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outgoing = Outgoing(Plain(ours))
        for _ in range(150_000):
            outgoing.put(frame(PING, 1, 0, bytes(8)))
        assert outgoing.is_over
        for thread in threading.enumerate():
            if thread.name == "http2-flusher":
                thread.join(WAIT_S)
