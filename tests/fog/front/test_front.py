"""A front hands marked connections over, relays the others, and bounds how many and how long."""

import socket
import struct
import threading

import pytest
from first_bytes import MARKED, OTHER, client_hello

from fog_server.front.front import Bounds, Front


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plaintext", "tls"])
def test_marked_connection_is_handed_over_untouched(
    listener, start_front, connect, taker, is_tls, is_slow
):
    front = start_front(listener.getsockname()[1], taker, is_tls=is_tls)
    data = client_hello("headtail-stream", "h2") if is_tls else MARKED
    client = connect(front)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in [data[i : i + 1] for i in range(len(data))] if is_slow else [data]:
        client.sendall(part)
    sock = taker.wait()
    assert None is sock.gettimeout()
    assert 1 == sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert 1 == sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
    got = b""
    while len(got) < len(data):
        got += sock.recv(7)
    assert data == got
    assert data.startswith(taker.taken[0][1])
    sock.sendall(b"answer")
    assert b"answer" == client.recv(6)
    assert None is front.check()  # its thread has come round
    assert (1, 0, 0) == (front.counts.handed, front.counts.relayed, front.open)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plaintext", "tls"])
def test_mark_of_the_other_kind_is_not_taken(listener, start_front, connect, taker, is_tls, accept):
    """A front before TLS takes no plaintext, whatever it is marked with."""
    front = start_front(listener.getsockname()[1], taker, is_tls=is_tls)
    data = MARKED if is_tls else client_hello("headtail-stream", "h2")
    connect(front).sendall(data)
    accept(data).close()
    assert [] == taker.taken


def test_connection_that_is_not_taken_is_relayed(listener, start_front, connect, accept):
    front = start_front(listener.getsockname()[1], lambda sock, first: False)
    client = connect(front)
    client.sendall(MARKED)
    with accept(MARKED) as server:
        server.sendall(b"answer")
        assert b"answer" == client.recv(6)
    assert (0, 1) == (front.counts.handed, front.counts.relayed)


def test_taker_that_fails_leaves_the_front_serving(listener, start_front, connect, caplog, accept):
    def fail(sock: socket.socket, first: bytes) -> bool:
        raise RuntimeError("can't start new thread")

    front = start_front(listener.getsockname()[1], fail)
    for _ in range(2):
        connect(front).sendall(MARKED)
        accept(MARKED).close()
    assert None is front.check()
    assert "can't start new thread" in caplog.text


def test_what_came_before_an_early_end_is_relayed(listener, start_front, connect, accept):
    front = start_front(listener.getsockname()[1])
    client = connect(front)
    client.sendall(MARKED[:10])
    client.shutdown(socket.SHUT_WR)
    with accept(MARKED[:10]) as server:
        assert b"" == server.recv(1)
        server.sendall(b"answer")
    assert b"answer" == client.recv(6)


def test_who_comes_and_goes_is_forgotten(listener, start_front, connect, wait_until, accept):
    front = start_front(listener.getsockname()[1])
    connect(front).close()
    broken = connect(front)
    broken.sendall(MARKED[:10])
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    broken.close()
    third = connect(front)
    third.sendall(OTHER)
    with accept(OTHER):
        wait_until(lambda: front.open == 1)


@pytest.mark.parametrize("said", [b"", MARKED[:10]], ids=["nothing", "too little"])
def test_who_does_not_go_on_is_closed(listener, start_front, connect, said):
    front = start_front(listener.getsockname()[1], handshake_s=0.05)
    client = connect(front)
    client.sendall(said)
    try:
        assert b"" == client.recv(1)
    except ConnectionResetError:
        assert said, "a connection is reset only where something was left unread"
    assert (1, 0) == (front.counts.silent, front.open)


def test_connections_over_the_bound_are_closed(
    listener, start_front, connect, wait_until, caplog, accept
):
    front = start_front(listener.getsockname()[1], max_connections=2)
    clients = [connect(front) for _ in range(2)]
    for client in clients:
        client.sendall(OTHER)
    servers = [accept(OTHER) for _ in clients]
    for _ in range(3):
        assert b"" == connect(front).recv(1)
    assert (3, 2) == (front.counts.refused, front.open)
    assert 1 == caplog.text.count("refusing connections over 2")
    servers[0].close()
    clients[0].close()
    wait_until(lambda: front.open == 1)
    connect(front).sendall(OTHER)
    accept(OTHER).close()
    servers[1].close()


def test_silent_connections_keep_nobody_out(listener, start_front, connect, accept):
    """Who speaks at once finds room, at the cost of those who have been silent for longest."""
    front = start_front(listener.getsockname()[1], max_connections=2)
    silent = [connect(front) for _ in range(5)]
    for gone in silent[:3]:
        assert b"" == gone.recv(1)
    connect(front).sendall(OTHER)
    with accept(OTHER):
        assert b"" == silent[3].recv(1)
        silent[4].sendall(OTHER)
        accept(OTHER).close()
    assert (4, 0) == (front.counts.silent, front.counts.refused)


def test_what_was_handed_over_does_not_count(listener, start_front, connect, taker):
    front = start_front(listener.getsockname()[1], taker, max_connections=1)
    for _ in range(3):
        connect(front).sendall(MARKED)
        taker.wait()
    assert None is front.check()
    assert 0 == front.open
    assert (3, 0) == (front.counts.handed, front.counts.refused)


def test_front_that_stopped_listening_relays_on(listener, start_front, connect, accept):
    front = start_front(listener.getsockname()[1])
    client = connect(front)
    client.sendall(OTHER)
    with accept(OTHER) as server:
        front.stop_listening()
        with pytest.raises(ConnectionRefusedError):
            connect(front)
        server.sendall(b"answer")
        assert b"answer" == client.recv(6)
        front.close()
        assert b"" == client.recv(1)
        assert b"" == server.recv(1)
    assert (None, 0) == (front.check(), front.open)
    front.close()


def test_who_waits_in_the_queue_is_served_as_listening_stops(
    listener, start_front, connect, accept
):
    """A front that is busy for a moment has connections in the system's queue."""
    front = start_front(listener.getsockname()[1])
    is_busy, is_free = threading.Event(), threading.Event()

    def wait() -> None:
        is_busy.set()
        is_free.wait()

    busy = threading.Thread(target=front._poller.call, args=(wait,))
    busy.start()
    is_busy.wait()
    client = connect(front)
    client.sendall(OTHER)
    stopping = threading.Thread(target=front.stop_listening)
    stopping.start()
    is_free.set()
    stopping.join()
    busy.join()
    accept(OTHER).close()


def test_front_may_be_closed_before_it_starts(listener):
    front = Front("127.0.0.1:0", listener.getsockname(), lambda sock, first: False, Bounds(1.0, 1))
    assert None is front.check()
    front.close()
    front.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(front.address.rpartition(":")[2])))


def test_front_says_that_its_thread_has_ended(listener, start_front):
    front = start_front(listener.getsockname()[1])
    assert None is front.check()
    front._poller.close()
    assert "the front on the public port does not answer" == front.check()
