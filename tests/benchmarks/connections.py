"""Clients that keep requests under way: the same bytes, written and read the same, for everybody.

A message of the Open Inference Protocol is a cached header and the tensor, and leaves as our
agent's does; the answer's tensor is a view of what came.
"""

import queue
import socket
import struct
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from client_grpc import grpc
from headtail.http2.call import Patience, StreamCall
from headtail.http2.metadata import End
from headtail.inference.grpc_service_pb2 import ModelInferResponse
from headtail.oip import (
    RAW_INPUT_FIELD,
    InferResponse,
    InferWriter,
    read_response,
    read_stream_response,
)
from headtail.tensor import Array, TensorSpec

SERVICE = "/inference.GRPCInferenceService/"
BARE = "/bench.Bare/Stream"
LENGTH = struct.Struct("<I")
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for every client
)
PATIENCE = Patience(connect_s=10.0, keepalive_s=30.0, ping_timeout_s=20.0)
MAX_BYTES = 1 << 30
Kind = Literal["stream", "unary", "bare", "tcp"]


class Refused(Exception):
    """A server answered a request with an error."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server's tail, what it is sent, and by which kind of call."""

    kind: Kind
    address: str
    model: str
    version: str
    inputs: tuple[TensorSpec, ...]
    arrays: tuple[Array, ...]
    """Of one message."""
    is_lenient: bool = False
    """Whether its answers need the generated classes: MLServer's say twice where values are."""

    @property
    def windows(self) -> int:
        """In one message."""
        return int(self.arrays[0].shape[0])


class Client(Protocol):
    """Requests on their way over one connection."""

    def send(self) -> None:
        """Send one request."""
        ...

    def receive(self) -> bytes | memoryview:
        """Return the next answer's first tensor."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class StreamClient:
    """One ModelStreamInfer call, driven as our agent drives its own."""

    def __init__(self, target: Target) -> None:
        """Open it."""
        self._arrays = target.arrays
        self._writer = InferWriter(target.model, target.version, target.inputs, RAW_INPUT_FIELD)
        host, _, port = target.address.rpartition(":")
        self._call = StreamCall(
            (host, int(port)), SERVICE + "ModelStreamInfer", None, PATIENCE, MAX_BYTES
        )
        self._answers = self._call.messages()
        self._sent = 0

    def send(self) -> None:
        """Send one request."""
        self._sent += 1
        self._call.send(*self._writer.write_parts(str(self._sent), {}, self._arrays))

    def receive(self) -> bytes | memoryview:
        """Return the next answer's first tensor."""
        return _content(read_stream_response(_next(self._answers)))

    def close(self) -> None:
        """Hang up."""
        self._call.close()
        # Another thread that waits for answers frees it.
        with suppress(ValueError):
            self._answers.close()


class UnaryClient:
    """ModelInfer calls, several at once; a single one is a blocking call."""

    def __init__(self, target: Target, in_flight: int) -> None:
        """Open the connection."""
        self._arrays = target.arrays
        self._is_lenient = target.is_lenient
        self._writer = InferWriter(target.model, target.version, target.inputs, RAW_INPUT_FIELD)
        self._channel = grpc.insecure_channel(target.address, OPTIONS)
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            SERVICE + "ModelInfer", request_serializer=None, response_deserializer=None
        )
        self._is_alone = in_flight == 1
        self._made: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[grpc.Future[bytes]] = queue.SimpleQueue()
        self._sent = 0

    def send(self) -> None:
        """Send one request."""
        self._sent += 1
        content = self._writer.write(str(self._sent), {}, self._arrays)
        if self._is_alone:
            self._made.put(content)
        else:
            self._call.future(content).add_done_callback(self._done.put)

    def receive(self) -> bytes | memoryview:
        """Return the next answer's first tensor."""
        data = self._call(self._made.get()) if self._is_alone else self._done.get().result()
        if self._is_lenient:
            return ModelInferResponse.FromString(data).raw_output_contents[0]
        return _content(read_response(data))

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


class BareClient:
    """A gRPC stream of tensors without any envelope, by grpcio: the floor of gRPC in Python."""

    def __init__(self, target: Target) -> None:
        """Open it."""
        self._content = target.arrays[0].tobytes()
        self._channel = grpc.insecure_channel(target.address, OPTIONS)
        self._sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(
            BARE, request_serializer=None, response_deserializer=None
        )
        self._answers = call(iter(self._sent.get, None))

    def send(self) -> None:
        """Send one tensor."""
        self._sent.put(self._content)

    def receive(self) -> bytes:
        """Return the next answer."""
        return next(self._answers)

    def close(self) -> None:
        """Hang up."""
        self._sent.put(None)
        self._channel.close()


class TcpClient:
    """A socket: four bytes of length and the tensor, both ways."""

    def __init__(self, target: Target) -> None:
        """Connect."""
        host, _, port = target.address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        content = target.arrays[0].reshape(-1).view("uint8").data
        self._message = b"".join((LENGTH.pack(len(content)), content))

    def send(self) -> None:
        """Send one tensor."""
        self._socket.sendall(self._message)

    def receive(self) -> bytes:
        """Return the next answer."""
        (size,) = LENGTH.unpack(self._read(LENGTH.size))
        return self._read(size)

    def _read(self, size: int) -> bytes:
        data = self._socket.recv(size, socket.MSG_WAITALL)
        if len(data) != size:
            raise Refused("the floor's server hung up")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def connect(target: Target, in_flight: int) -> Client:
    """Return a client that will keep so many requests under way."""
    if target.kind == "unary":
        return UnaryClient(target, in_flight)
    kinds = {"stream": StreamClient, "bare": BareClient, "tcp": TcpClient}
    return kinds[target.kind](target)


def _next(answers: Generator[bytes | bytearray, None, End]) -> bytes | bytearray:
    """Return the next answer.

    Raises:
        Refused: If the call has ended.
    """
    try:
        return next(answers)
    except StopIteration as stop:
        end = stop.value
        raise Refused(f"{end.code.name} {end.details}" if end else "the call is over") from None


def _content(response: InferResponse) -> bytes | memoryview:
    if response.error:
        raise Refused(response.error)
    return response.outputs[0].content
