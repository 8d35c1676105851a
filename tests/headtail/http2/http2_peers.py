"""Who our HTTP/2 talks to in tests: grpcio, python-hyper's h2, and bare sockets."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest

from headtail.http2.call import Patience, StreamCall
from headtail.http2.metadata import End
from headtail.http2.service import Limits, StreamService

PATH = "/test.Echo/Stream"
FULL, STOP, HOLD, FAIL = b"full", b"stop", b"hold", b"fail"
DATA, HEAD, PRIORITY_OF, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, MORE = range(10)
"""Kinds of frames."""
END, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32
"""Flags of frames."""
WAIT_S = 20.0
Method = Callable[..., None]
opened: list[Any] = []
"""What is closed after the test."""
MAX_BYTES = 4 << 20
LIMITS = Limits(8, MAX_BYTES, WAIT_S, WAIT_S, linger_s=5.0)
BOMB = b"\x40\x01a\x7f\x81\x1e" + b"x" * 4000 + b"\xbe" * 12_000
"""A header of 4000 bytes by HPACK, and 12000 times the same again."""
HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "test"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
ANSWER = [(":status", "200"), ("content-type", "application/grpc")]


def message(content: bytes) -> bytes:
    """Return a message as gRPC frames it."""
    return struct.pack(">BI", 0, len(content)) + content


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2, right or wrong."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def split(stream: bytes) -> list[bytes]:
    """Return the messages of a stream of whole ones."""
    found = []
    while stream:
        flag, size = struct.unpack_from(">BI", stream)
        assert flag == 0
        assert len(stream) >= 5 + size
        found.append(stream[5 : 5 + size])
        stream = stream[5 + size :]
    return found


class GrpcServer:
    """Echoes messages with grpcio; some of them mean something."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.held = threading.Event()
        self.is_held = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)]
        )
        handlers = {"Stream": grpc.stream_stream_rpc_method_handler(self._echo)}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", handlers),)
        )
        any_port = "127.0.0.1:0"
        port = (
            self._server.add_insecure_port(any_port)
            if credentials is None
            else self._server.add_secure_port(any_port, credentials)
        )
        self.address = ("127.0.0.1", port)
        self._server.start()

    def stop(self) -> None:
        """Vanish at once."""
        self.held.set()
        self._server.stop(None).wait()

    def _echo(self, frames: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for content in frames:
            if content == FULL:
                context.set_trailing_metadata((("delay", "70"), ("blob-bin", b"\0\xff,")))
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too müch: 100 %\n…")
            if content == STOP:
                return
            if content == HOLD:
                self.is_held.set()
                self.held.wait(WAIT_S)
            yield content


class Service:
    """Our service behind a port, with the methods given."""

    def __init__(
        self,
        behavior: Callable[..., None],
        limits: Limits = LIMITS,
        tls: Callable[[], ssl.SSLContext] | None = None,
        send_buffer: int = 0,
    ) -> None:
        self.service = StreamService({PATH: behavior}, limits, tls)
        self._send_buffer = send_buffer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for every thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(WAIT_S)
        self._listener.close()
        self.service.close(WAIT_S)
        assert self.service.connections == 0
        for thread in threading.enumerate():
            if thread.name in ("stream", "http2-flusher"):
                thread.join(WAIT_S)
                assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            if self._send_buffer:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self.service.take(accepted):
                accepted.close()


def echo(frames: Iterator[Any], _context: grpc.ServicerContext, send: Callable[..., None]) -> None:
    """Answer each message with itself."""
    for content in frames:
        send(content)
    send(None)


def open_call(
    address: tuple[str, int],
    tls: ssl.SSLContext | None = None,
    patience: Patience | None = None,
    max_bytes: int = MAX_BYTES,
) -> StreamCall:
    """Return a call to a server."""
    call = StreamCall(address, PATH, tls, patience or Patience(WAIT_S, WAIT_S, WAIT_S), max_bytes)
    opened.append(call)
    return call


def end_of(call: StreamCall, got: list[bytes] | None = None) -> End:
    """Read a call to its end and return it; what comes before is added to `got`."""
    messages = call.messages()
    while True:
        try:
            content = next(messages)
        except StopIteration as stop:
            return stop.value
        if got is not None:
            got.append(bytes(content))


class H2Peer:
    """A connection driven by h2, on either side; its windows are as given."""

    def __init__(self, connected: socket.socket, *, is_client: bool, **settings: int) -> None:
        self.socket = connected
        opened.append(connected)
        connected.settimeout(WAIT_S)
        config = h2.config.H2Configuration(client_side=is_client, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        if settings:
            codes = h2.settings.SettingCodes
            self.h2.update_settings({codes[name]: value for name, value in settings.items()})
        self.data = b""
        self.events: list[h2.events.Event] = []
        self.is_closed = False
        self.flush()

    def flush(self) -> None:
        """Send what h2 has to say."""
        if out := self.h2.data_to_send():
            self.socket.sendall(out)

    def receive(self) -> list[h2.events.Event]:
        """Wait for bytes and return what they mean; h2 raises if we may not send them."""
        data = self.socket.recv(65536)
        if not data:
            self.is_closed = True
            return []
        events = self.h2.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.data += event.data
        self.events += events
        self.flush()
        return events

    def until(self, kind: type[h2.events.Event]) -> Any:
        """Wait for an event."""
        while not self.is_closed:
            for i, event in enumerate(self.events):
                if isinstance(event, kind):
                    del self.events[: i + 1]
                    return event
            self.receive()
        raise AssertionError(f"closed before {kind.__name__}")

    def widen(self, size: int) -> None:
        """Take so many bytes more, if the other side has not hung up."""
        with suppress(h2.exceptions.ProtocolError):
            self.h2.increment_flow_control_window(size)
            self.h2.increment_flow_control_window(size, 1)
        self.flush()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def receive_data(self, count: int) -> None:
        """Wait until so many bytes of DATA have come; windows are left as they are."""
        while len(self.data) < count:
            self.receive()
            assert not self.is_closed


def fails(call: grpc.Call) -> grpc.RpcError:
    """Return how a call fails."""
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    return error.value
