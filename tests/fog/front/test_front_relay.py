"""What is not ours is passed on byte for byte, as slowly as the slower side reads."""

import hashlib
import socket
import struct
import threading

import pytest
from first_bytes import OTHER

from fog_server.front.relay import CHUNK_BYTES, Relay

BIG = 64 << 20


def read_all(sock: socket.socket) -> "hashlib._Hash":
    """Return the digest of everything until the end."""
    digest = hashlib.sha256()
    while data := sock.recv(1 << 16):
        digest.update(data)
    return digest


def send_all(sock: socket.socket, seed: int) -> "hashlib._Hash":
    """Send 64 MB that do not repeat, then end; return their digest."""
    digest = hashlib.sha256()
    for number in range(BIG >> 20):
        data = struct.pack(">Q", seed + number) * (1 << 17)
        digest.update(data)
        sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    return digest


def held(front) -> int:
    """Return the bytes that wait in the front."""
    relays = [item for item in list(front._open) if isinstance(item, Relay)]
    unsent = [end.unsent for relay in relays for end in (relay._client, relay._server)]
    return max((len(data) for data in unsent if data is not None), default=0)


@pytest.fixture
def pair(listener, start_front, connect):
    """Return a front, a client of it, and gRPC's end of the relay."""
    front = start_front(listener.getsockname()[1])
    client = connect(front)
    client.sendall(OTHER)
    server, _ = listener.accept()
    with server:
        server.settimeout(client.gettimeout())
        got = b""
        while len(got) < len(OTHER):
            got += server.recv(100)
        assert OTHER == got
        yield front, client, server


def test_much_goes_both_ways_at_once_and_little_is_held(pair, wait_until):
    """Neither side reads at first, so that everything fills; then both get all there is."""
    front, client, server = pair
    digests: dict[str, object] = {}

    def send(name: str, sock: socket.socket, seed: int) -> None:
        digests[name] = send_all(sock, seed).hexdigest()

    threads = [
        threading.Thread(target=send, args=("up", client, 0)),
        threading.Thread(target=send, args=("down", server, 1 << 40)),
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: held(front) > 0)
    found: dict[str, object] = {}
    reader = threading.Thread(target=lambda: found.update(up=read_all(server).hexdigest()))
    reader.start()
    digest, most = hashlib.sha256(), 0
    while data := client.recv(1 << 14):
        digest.update(data)
        most = max(most, held(front))
    for thread in (*threads, reader):
        thread.join()
    assert digests == {"up": found["up"], "down": digest.hexdigest()}
    assert 0 < most <= CHUNK_BYTES
    wait_until(lambda: front.open == 0)


def test_rest_that_goes_in_steps_arrives_whole(pair):
    """The system takes less at once than waits here."""
    front, client, server = pair
    (relay,) = front._open
    relay._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    data = b"".join(struct.pack(">Q", number) for number in range(1 << 18))
    sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(1)))
    sender.start()
    expected = hashlib.sha256(data).hexdigest()
    assert expected == read_all(server).hexdigest()
    sender.join()


def test_end_of_one_side_is_passed_on_and_the_other_goes_on(pair, wait_until):
    front, client, server = pair
    client.shutdown(socket.SHUT_WR)
    assert b"" == server.recv(1)
    for number in range(3):
        server.sendall(bytes([number]))
        assert bytes([number]) == client.recv(1)
    assert 1 == front.open
    server.close()
    assert b"" == client.recv(1)
    wait_until(lambda: front.open == 0)


def test_server_may_end_first(pair, wait_until):
    front, client, server = pair
    server.shutdown(socket.SHUT_WR)
    assert b"" == client.recv(1)
    client.sendall(b"more")
    assert b"more" == server.recv(4)
    client.close()
    assert b"" == server.recv(1)
    wait_until(lambda: front.open == 0)


def test_client_that_takes_no_end_is_cut_off(pair, wait_until):
    """The server is done with it: what it still holds here it may not hold for good."""
    front, client, server = pair
    front._ending._length_s = 0.05
    server.close()
    assert b"" == client.recv(1)
    wait_until(lambda: front.open == 0)
    assert None is front.check()
    with pytest.raises(BrokenPipeError):
        client.send(b"more")


@pytest.mark.parametrize("is_client", [True, False])
def test_reset_is_passed_on(pair, is_client, wait_until):
    front, *sides = pair
    one, other = sides if is_client else reversed(sides)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    wait_until(lambda: front.open == 0)


def test_reset_of_a_side_that_is_not_read_is_passed_on(pair, wait_until):
    """The other side takes nothing, so that nothing is read from the one that breaks off."""
    front, client, server = pair
    client.setblocking(False)
    wait_until(lambda: _fill(client) and held(front) > 0)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    wait_until(lambda: front.open == 0)
    with pytest.raises(ConnectionResetError):
        read_all(server)


def _fill(sock: socket.socket) -> bool:
    try:
        while True:
            sock.send(bytes(1 << 16))
    except BlockingIOError:
        return True


def break_off_unread(client, server, rest: bytes) -> None:
    """Have the server close with something unread, after `rest`: its system then sends a reset."""
    client.sendall(b"unread")
    assert b"u" == server.recv(1, socket.MSG_PEEK)
    server.sendall(rest)
    server.close()


def test_client_has_what_came_before_the_servers_reset(pair, wait_until):
    """It may go on sending until it hangs up, which a reset would not let it."""
    front, client, server = pair
    break_off_unread(client, server, b"rest")
    wait_until(lambda: len(front._ending) == 1)
    for _ in range(3):
        client.sendall(b"more")
    assert b"rest" == client.recv(100)
    assert b"" == client.recv(1)
    client.sendall(b"more")
    client.close()
    wait_until(lambda: front.open == 0)
    assert 0 == front.counts.failed


def test_what_comes_for_a_server_that_is_gone_is_discarded(pair, wait_until):
    """Its system answers what comes yet with a reset."""
    front, client, server = pair
    server.sendall(b"rest")
    server.close()
    assert b"rest" == client.recv(100)
    assert b"" == client.recv(1)
    client.sendall(bytes(CHUNK_BYTES * 64))  # more than systems keep
    assert 1 == front.open
    client.shutdown(socket.SHUT_WR)
    wait_until(lambda: front.open == 0)


def test_client_that_goes_on_sending_to_nobody_is_cut_off(pair, wait_until):
    front, client, server = pair
    front._ending._length_s = 0.05
    break_off_unread(client, server, b"rest")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        sum(iter(lambda: client.send(b"more"), 0))  # without end
    wait_until(lambda: front.open == 0)


def test_slow_client_has_what_was_held_for_it_after_a_reset(pair, wait_until):
    front, client, server = pair
    server.setblocking(False)
    wait_until(lambda: _fill(server) and held(front) > 0)
    least = held(front)
    client.sendall(b"unread")
    wait_until(lambda: _peeks(server))
    server.close()
    wait_until(lambda: len(front._ending) == 1)
    count = 0
    while data := client.recv(1 << 16):
        count += len(data)
    assert count > least
    client.close()
    wait_until(lambda: front.open == 0)


def _peeks(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_closing_front_lets_clients_have_the_rest(pair, wait_until, monkeypatch):
    front, client, server = pair
    monkeypatch.setattr("fog_server.front.front._CLOSING_S", 20.0)
    front._finishing._length_s = 20.0
    (relay,) = front._open
    data = b"".join(struct.pack(">Q", number) for number in range(1 << 20))
    sender = threading.Thread(target=lambda: (server.sendall(data), server.close()))
    sender.start()
    wait_until(lambda: held(front) > 0)
    closing = threading.Thread(target=front.close)
    closing.start()
    wait_until(lambda: relay._server.is_gone)
    assert hashlib.sha256(data).hexdigest() == read_all(client).hexdigest()
    client.close()
    for thread in (sender, closing):
        thread.join()
    assert 0 == front.open


def test_closing_front_waits_for_no_client_that_takes_nothing(pair):
    front, client, server = pair
    front._finishing._length_s = 0.05
    server.sendall(b"rest")
    assert b"rest" == client.recv(4)
    front.close()
    assert 0 == front.open
    assert b"" == server.recv(1)


def test_client_is_closed_where_no_server_listens(listener, start_front, connect, wait_until):
    front = start_front(listener.getsockname()[1])
    listener.close()
    client = connect(front)
    client.sendall(OTHER)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: (front.counts.failed, front.open) == (1, 0))


def test_client_is_closed_where_the_server_never_answers(listener, start_front, connect):
    front = start_front(listener.getsockname()[1])
    front._unanswered._length_s = 0.05
    client = connect(front)
    client.sendall(OTHER)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert (1, 1) == (front.counts.relayed, front.counts.failed)


def test_server_that_has_answered_may_be_silent(listener, start_front, connect):
    front = start_front(listener.getsockname()[1])
    now = 0.0
    front._unanswered._clock = lambda: now
    client = connect(front)
    client.sendall(OTHER)
    server, _ = listener.accept()
    with server:
        server.sendall(b"1")
        assert b"1" == client.recv(1)
        now = 1e6
        assert None is front.check()  # it has taken a turn, and so looked at the time
        server.sendall(b"2")
        assert b"2" == client.recv(1)
    assert 0 == front.counts.failed
