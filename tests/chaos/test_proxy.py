"""The misbehaving proxy, against a server that echoes."""

import contextlib
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import Proxy

TIMEOUT_S = 20.0


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes, and says goodbye when its client has finished."""

    def handle(self) -> None:
        """Serve one connection to its end."""
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.request.sendall(data)
            self.request.sendall(b"bye")


@pytest.fixture
def target() -> Iterator[str]:
    """Return the address of an echo server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        host, port = server.server_address
        yield f"{host}:{port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(target: str) -> Iterator[Proxy]:
    """Return a proxy before it."""
    with Proxy(target, seed=1) as proxy:
        yield proxy


def dial(proxy: Proxy) -> socket.socket:
    """Return a connection through the proxy."""
    host, port = proxy.address.split(":")
    return socket.create_connection((host, int(port)), TIMEOUT_S)


def receive(connection: socket.socket, count: int) -> bytes:
    """Return so many bytes, or those before the end."""
    received = b""
    while len(received) < count and (data := connection.recv(count - len(received))):
        received += data
    return received


def echoed(connection: socket.socket, data: bytes) -> bytes:
    """Return what comes back for `data`."""
    connection.sendall(data)
    return receive(connection, len(data))


def test_bytes_pass_unaltered(proxy):
    data = bytes(range(256)) * 500
    with dial(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        assert data == receive(connection, len(data))
        sender.join()


def test_drop_resets_and_the_next_connection_passes(proxy):
    with dial(proxy) as connection:
        assert b"x" == echoed(connection, b"x")
        proxy.drop()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with dial(proxy) as connection:
        assert b"y" == echoed(connection, b"y")
    assert 1 == proxy.counts["dropped"]


def test_cut_lets_a_seeded_prefix_through(target):
    """The same seed cuts at the same byte; the connection is reset."""
    passed = []
    for _ in range(2):
        with Proxy(target, seed=5) as proxy, dial(proxy) as connection:
            assert b"x" == echoed(connection, b"x")
            proxy.cut(1000)
            connection.sendall(b"z" * 5000)
            with pytest.raises(ConnectionResetError):
                receive(connection, 5000)
            passed.append(proxy.counts["up_bytes"])
    assert passed[0] == passed[1]
    assert 1 < passed[0] <= 1001


def test_black_hole_holds_and_pass_lets_go(proxy):
    with dial(proxy) as connection:
        assert b"x" == echoed(connection, b"x")
        proxy.black_hole()
        connection.sendall(b"held")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(TIMEOUT_S)
        proxy.pass_on()
        assert b"held" == receive(connection, 4)


def test_shape_shares_its_rate_among_connections(proxy):
    """Two senders of 2,000 bytes at 80 kbit/s: the last byte cannot be back before 0.4 s."""
    with dial(proxy) as first, dial(proxy) as second:
        assert b"xy" == echoed(first, b"x") + echoed(second, b"y")
        proxy.shape(80_000)
        began_s = time.monotonic()
        for connection in (first, second):
            connection.sendall(b"z" * 2000)
        assert [2000, 2000] == [len(receive(connection, 2000)) for connection in (first, second)]
        assert 0.4 <= time.monotonic() - began_s
        proxy.pass_on()
        assert b"x" == echoed(first, b"x")


def test_half_close_ends_one_direction(proxy):
    """The server has seen the end and says goodbye; the other direction still carries that."""
    with dial(proxy) as connection:
        assert b"x" == echoed(connection, b"x")
        proxy.half_close("up")
        assert b"bye" == receive(connection, 4)


def test_refused_connections_are_reset(proxy):
    proxy.refuse()
    with pytest.raises(ConnectionResetError), dial(proxy) as connection:
        connection.recv(1)
    proxy.pass_on()
    with dial(proxy) as connection:
        assert b"x" == echoed(connection, b"x")


def test_program_takes_commands_and_counts(target):
    program = [sys.executable, Path(__file__).with_name("proxy.py"), target]
    commands = "delay 0.01 0.01\ncut 100\nhalf-close down\npass\ndrop\ncounts\n"
    done = subprocess.run(program, input=commands, capture_output=True, text=True, timeout=20.0)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("listening on 127.0.0.1:")
    assert ["delay 0.01 0.01", "cut 100", "half-close down", "pass", "drop"] == lines[1:6]
    assert '"open": 0' in lines[6]
