"""Fronts on free loopback ports, before a real gRPC server or before plain sockets."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest

from fog_server.front.front import Bounds, Front
from headtail.server.origin import origin_of

TIMEOUT_S = 20.0
LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
StartFront = Callable[..., Front]


class Grpc:
    """A server of gRPC's whose methods answer with what they are sent, or with who sends it."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Start it on a free port."""
        self.server = grpc.server(ThreadPoolExecutor(16), options=LIMITS)
        self.peers: list[str] = []
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(lambda data, _: data),
            "Stream": grpc.stream_stream_rpc_method_handler(lambda frames, _: iter(frames)),
            "Who": grpc.unary_unary_rpc_method_handler(self._who),
        }
        handlers = grpc.method_handlers_generic_handler("test", methods)
        self.server.add_generic_rpc_handlers((handlers,))
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    def _who(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        self.peers.append(context.peer())
        return origin_of(context.peer()).encode()


class Taker:
    """Takes every connection."""

    def __init__(self) -> None:
        """Take nothing yet."""
        self.taken: list[tuple[socket.socket, bytes]] = []
        self.has_taken = threading.Semaphore(0)

    def __call__(self, sock: socket.socket, first: bytes) -> bool:
        """Take one."""
        self.taken.append((sock, first))
        self.has_taken.release()
        return True

    def wait(self) -> socket.socket:
        """Return the newest, once it is there."""
        assert self.has_taken.acquire(timeout=20)
        return self.taken[-1][0]


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    """Return what closes everything after the test, the newest first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_grpc(resources: ExitStack) -> Callable[..., Grpc]:
    """Return what starts a gRPC server."""

    def start(credentials: grpc.ServerCredentials | None = None) -> Grpc:
        server = Grpc(credentials)
        resources.callback(lambda: server.server.stop(None).wait())
        return server

    return start


@pytest.fixture
def start_front(resources: ExitStack) -> StartFront:
    """Return what starts a front before a port; by default it takes nothing over."""

    def start(
        port: int,
        take: Callable[[socket.socket, bytes], bool] = lambda sock, first: False,
        handshake_s: float = TIMEOUT_S,
        max_connections: int = 64,
        listen: str = "127.0.0.1:0",
        **flags: bool,
    ) -> Front:
        bounds = Bounds(handshake_s, max_connections)
        front = Front(listen, ("127.0.0.1", port), take, bounds, **flags)
        resources.callback(front.close)
        front.start()
        return front

    return start


@pytest.fixture
def listener(resources: ExitStack) -> socket.socket:
    """Return a plain socket that listens where gRPC would."""
    sock = resources.enter_context(socket.create_server(("127.0.0.1", 0)))
    sock.settimeout(TIMEOUT_S)
    return sock


@pytest.fixture
def connect(resources: ExitStack) -> Callable[[Front], socket.socket]:
    """Return what opens a connection to a front."""

    def connect(front: Front) -> socket.socket:
        host, _, port = front.address.rpartition(":")
        address = host.strip("[]"), int(port)
        return resources.enter_context(socket.create_connection(address, TIMEOUT_S))

    return connect


@pytest.fixture
def open_channel(resources: ExitStack) -> Callable[..., grpc.Channel]:
    """Return what opens a gRPC channel of its own to an address."""

    def open_channel(
        address: str, credentials: grpc.ChannelCredentials | None = None
    ) -> grpc.Channel:
        options = [*LIMITS, ("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            return resources.enter_context(grpc.insecure_channel(address, options=options))
        return resources.enter_context(grpc.secure_channel(address, credentials, options=options))

    return open_channel


@pytest.fixture
def taker(resources: ExitStack) -> Taker:
    """Return what takes connections; they are closed afterwards."""
    taker = Taker()
    resources.callback(lambda: [sock.close() for sock, _ in taker.taken])
    return taker


@pytest.fixture
def accept(listener: socket.socket, resources: ExitStack) -> Callable[[bytes], socket.socket]:
    """Return what returns the relay's connection, once it has brought what was expected."""

    def accept(expected: bytes) -> socket.socket:
        server = resources.enter_context(listener.accept()[0])
        server.settimeout(20)
        got = b""
        while len(got) < len(expected):
            got += server.recv(1 << 16)
        assert expected == got
        return server

    return accept
