"""The proxy that is a link: rate and delay as asked for, against a server that echoes.

Times are only bounded from below, where no load of the machine can spoil them; the exact ones are
those of `due_s`, on a clock of the test's own.
"""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from proxy_link import LinkProxy, LinkState

TIMEOUT_S = 20.0


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes."""

    def handle(self) -> None:
        """Serve one connection to its end."""
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


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


def dial(proxy: LinkProxy) -> socket.socket:
    """Return a connection through the proxy."""
    host, port = proxy.address.split(":")
    return socket.create_connection((host, int(port)), TIMEOUT_S)


def echoed(connection: socket.socket, data: bytes) -> bytes:
    """Return what comes back for `data`."""
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    received = b""
    while len(received) < len(data) and (more := connection.recv(len(data) - len(received))):
        received += more
    sender.join()
    return received


def took_s(target: str, state: LinkState, count: int) -> float:
    """Return the time of an echo of so many bytes over a link."""
    with LinkProxy(target, lambda _: state) as proxy, dial(proxy) as connection:
        began_s = time.monotonic()
        assert b"z" * count == echoed(connection, b"z" * count)
        return time.monotonic() - began_s


def test_bytes_pass_unaltered_and_in_order(target):
    data = bytes(range(256)) * 2000
    with LinkProxy(target, lambda _: LinkState(0.0, 0.0, 0.0)) as proxy, dial(proxy) as connection:
        assert data == echoed(connection, data)


def test_delay_is_paid_each_way(target):
    assert 0.2 <= took_s(target, LinkState(0.0, 0.0, 0.1), 64 << 10)


def test_chunks_are_on_their_way_at_once():
    """Without a rate several chunks that come together arrive together, one delay later."""
    with on_a_clock(lambda _: LinkState(0.0, 0.0, 0.2)) as proxy:
        assert [1.2, 1.2, 1.2] == pytest.approx([proxy.due_s("up", 16384, 1.0) for _ in range(3)])


@pytest.mark.parametrize("rates", [(160_000.0, 0.0), (0.0, 160_000.0)], ids=["up", "down"])
def test_rate_of_either_direction_is_kept(target, rates):
    """10,000 bytes at 160 kbit/s take half a second."""
    assert 0.5 <= took_s(target, LinkState(*rates, 0.0), 10_000)


def test_end_of_one_direction_is_passed_on(target):
    with LinkProxy(target, lambda _: LinkState(0.0, 0.0, 0.01)) as proxy, dial(proxy) as connection:
        connection.sendall(b"last")
        connection.shutdown(socket.SHUT_WR)
        assert [b"last", b""] == [connection.recv(10), connection.recv(10)]


def on_a_clock(trace):
    """Return a proxy to nowhere whose clock stands still."""
    return LinkProxy("127.0.0.1:1", trace, clock=lambda: 0.0)


def test_due_times_are_those_of_rate_and_delay():
    """1,000 bytes at 80 kbit/s take 0.1 s: one after the other, then 0.05 s on the way."""
    with on_a_clock(lambda _: LinkState(80_000.0, 8_000.0, 0.05)) as proxy:
        ups = [proxy.due_s("up", 1000, now_s) for now_s in (1.0, 1.0, 5.0)]
        assert [1.15, 1.25, 5.15] == pytest.approx(ups)
        assert 2.05 == pytest.approx(proxy.due_s("down", 1000, 1.0))
        assert [3000, 1000] == list(proxy.taken_bytes.values())
        assert [0.3, 1.0] == pytest.approx(list(proxy.busy_s.values()))


def test_a_step_of_the_trace_changes_both():
    def trace(now_s: float) -> LinkState:
        return LinkState(80_000.0, 0.0, 0.0) if now_s < 10.0 else LinkState(8_000.0, 0.0, 0.5)

    with on_a_clock(trace) as proxy:
        assert 9.1 == pytest.approx(proxy.due_s("up", 1000, 9.0))
        assert 12.5 == pytest.approx(proxy.due_s("up", 1000, 11.0))
