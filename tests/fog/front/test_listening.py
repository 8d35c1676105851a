"""Fronts listen where gRPC would, alone or with others, as long as the system has room."""

import errno
import resource
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from first_bytes import OTHER

from headtail.errors import ConfigError
from headtail.server.reservation import Reservation


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"])
def test_two_fronts_share_a_port_if_both_say_so(
    listener, start_front, connect, accept, resources, listen
):
    """As the workers do: their supervisor holds the port, without listening."""
    reservation = Reservation(listen)
    resources.callback(reservation.close)
    port = listener.getsockname()[1]
    one = start_front(port, is_shared=True, listen=reservation.address)
    two = start_front(port, is_shared=True, listen=reservation.address)
    assert reservation.address == one.address == two.address
    servers = []
    while not (one.counts.relayed and two.counts.relayed):
        assert len(servers) < 200, "the system gives one of them everything"
        connect(one).sendall(OTHER)
        servers.append(accept(OTHER))
    for server in servers:
        server.close()
    assert len(servers) == one.counts.relayed + two.counts.relayed
    one.stop_listening()
    connect(two).sendall(OTHER)
    accept(OTHER).close()


def test_taken_port_is_an_error_of_its_flag(listener, start_front):
    front = start_front(listener.getsockname()[1])
    with pytest.raises(ConfigError, match=f"--listen: cannot listen on {front.address}: Address"):
        start_front(listener.getsockname()[1], listen=front.address)


@pytest.mark.parametrize(
    ("listen", "text"),
    [
        ("nowhere", "--listen: expected HOST:PORT, received 'nowhere'"),
        ("no.such.host.invalid:0", "--listen: cannot listen on no.such.host.invalid:0: "),
        (f"{'x' * 70}.example:0", "--listen: cannot listen on x+.example:0: "),
        ("192.0.2.1:0", "--listen: cannot listen on 192.0.2.1:0: Cannot assign"),
    ],
)
def test_address_that_is_none_is_an_error(start_front, listen, text):
    with pytest.raises(ConfigError, match=text):
        start_front(1, listen=listen)


def take_all(taken: ExitStack) -> None:
    """Leave no descriptor to anybody until the stack is closed."""
    with suppress(OSError):
        while True:
            taken.enter_context(socket.socket())


def test_connections_wait_while_the_system_has_no_room(
    listener, start_front, connect, accept, resources, caplog
):
    front = start_front(listener.getsockname()[1])
    front._listeners._pauses._length_s = 0.05
    client = resources.enter_context(socket.socket())
    client.settimeout(20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(in_use) + 1, hard))
    try:
        with ExitStack() as taken:
            take_all(taken)
            client.connect(("127.0.0.1", int(front.address.rpartition(":")[2])))
            client.sendall(OTHER)
            give_up_at = time.monotonic() + 20
            while "connections have to wait: Too many open files" not in caplog.text:
                assert time.monotonic() < give_up_at, caplog.text
                take_all(taken)  # somebody may have closed some
                assert None is front.check()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    accept(OTHER).close()


def test_listener_that_cannot_be_watched_again_yet_is_tried_later(
    listener, start_front, connect, accept
):
    """The public port outlives a moment in which the system has no memory."""
    front = start_front(listener.getsockname()[1])
    listeners, poller = front._listeners, front._poller
    listeners._pauses._length_s = 0.05
    add, refused = poller.add, []

    def refuse(*args) -> None:
        poller.add = add
        refused.append(args)
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    def pause() -> None:
        (paused,) = listeners._sockets
        poller.remove(paused)
        poller.add = refuse
        listeners._pauses.begin(paused)

    assert poller.call(pause)
    connect(front).sendall(OTHER)
    accept(OTHER).close()
    assert 1 == len(refused)
    assert front.check() is None
