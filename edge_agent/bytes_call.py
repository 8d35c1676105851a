"""A bidirectional call that carries bytes, and what it ends with: two ways to drive gRPC.

With grpcio's public interface a message changes threads twice on its way out, from the program to
the thread that consumes requests, and twice on its way in, from the thread that polls for all of a
channel's calls to the program. `DirectCall` drives the same call with the threads that are there:
whoever sends starts the write, whoever reads waits for what comes. It takes what grpcio's own
single-threaded calls are made of, which is not public: where that is not as known, `PublicCall`
does the same, slower.
"""

import importlib
import queue
import threading
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

_CANCELLED = 1  # GRPC_STATUS_CANCELLED, as gRPC's core numbers it
_INITIAL, _SENT, _RECEIVED, _STATUS = "initial", "sent", "received", "status"


@dataclass(frozen=True, slots=True)
class End:
    """What a call ended with."""

    code: grpc.StatusCode
    details: str = ""
    trailing: Sequence[tuple[str, str | bytes]] = ()
    """Metadata that came with it."""


class BytesCall(Protocol):
    """An open call: any thread sends and closes, one thread reads."""

    def send(self, message: bytes) -> None:
        """Hand over a message; never waits for the other side. No effect once the call is over."""
        ...

    def messages(self) -> Generator[bytes, None, End]:
        """Yield what comes until the call ends; return how it ended."""
        ...

    def finish(self) -> None:
        """Say that nothing more is sent."""
        ...

    def close(self) -> None:
        """End the call and free its channel, at the latest when `messages` has ended."""
        ...


def open_call(channel: grpc.Channel, method: str) -> BytesCall:
    """Open a call in the fastest way that there is; it owns `channel` from then on."""
    try:
        return DirectCall(channel, method)
    except (ImportError, AttributeError, TypeError):  # another grpcio than those known
        return PublicCall(channel, method)


class PublicCall:
    """A call through grpcio's public interface."""

    def __init__(self, channel: grpc.Channel, method: str) -> None:
        """Open the call."""
        self._channel = channel
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            method, request_serializer=None, response_deserializer=None
        )
        self._call = call(iter(self._outgoing.get, None))

    def send(self, message: bytes) -> None:
        """Hand over a message."""
        self._outgoing.put(message)

    def messages(self) -> Generator[bytes, None, End]:
        """Yield what comes; return the end."""
        try:
            yield from self._call
        except grpc.RpcError as error:
            trailing = [(m.key, m.value) for m in error.trailing_metadata() or ()]
            return End(error.code(), error.details() or "", trailing)
        return End(grpc.StatusCode.OK)

    def finish(self) -> None:
        """Say that nothing more is sent."""
        self._outgoing.put(None)

    def close(self) -> None:
        """End the call and free its channel."""
        self._outgoing.put(None)
        self._call.cancel()
        self._channel.close()


class DirectCall:
    """A call with a completion queue of its own, which the reader's thread waits on.

    gRPC takes one message at a time; the reader's thread starts the next one when it learns that
    the last one was taken.
    """

    def __init__(self, channel: grpc.Channel, method: str) -> None:
        """Open the call.

        Raises:
            AttributeError: If this grpcio is not made as those known; likewise ImportError and
                TypeError.
        """
        core: Any = importlib.import_module("grpc._cython.cygrpc")
        inner: Any = channel
        self._core = core
        self._channel = channel
        self._lock = threading.Lock()
        self._outgoing: deque[bytes | None] = deque()
        self._is_sending = False
        self._is_read = False
        self._is_over = False
        self._end = End(grpc.StatusCode.CANCELLED)
        # The message and the mark that nothing more comes, as gRPC's core takes them.
        self._messages, self._closing = core.SendMessageOperation, core.SendCloseFromClientOperation
        self._receive = (core.ReceiveMessageOperation(0),)
        start = (
            (
                (
                    core.SendInitialMetadataOperation(None, 0),
                    core.ReceiveStatusOnClientOperation(0),
                ),
                _STATUS,
            ),
            ((core.ReceiveInitialMetadataOperation(0),), _INITIAL),
        )
        self._due = len(start)
        """Events to come; the call is freed with the last of them."""
        self._call = inner._channel.segregated_call(
            0, method.encode(), None, None, None, None, start, None
        )
        self._operate(self._receive, _RECEIVED)

    def send(self, message: bytes) -> None:
        """Hand over a message: gRPC has it at once, or after those before it."""
        self._put(message)

    def finish(self) -> None:
        """Say that nothing more is sent."""
        self._put(None)

    def close(self) -> None:
        """End the call; whoever reads it frees the channel, or this thread where nobody does."""
        with self._lock:
            is_read, self._is_read = self._is_read, True
            if not self._is_over:
                self._call.cancel(_CANCELLED, "closed")
        if not is_read:
            self._drain()

    def messages(self) -> Generator[bytes, None, End]:
        """Yield what comes; return the end."""
        with self._lock:
            is_read, self._is_read = self._is_read, True
        if is_read:
            return self._end
        try:
            while not self._is_over:
                message = self._next()
                if message is not None:
                    yield message
        finally:
            self._drain()
        return self._end

    def _put(self, message: bytes | None) -> None:
        with self._lock:
            if self._is_sending:
                self._outgoing.append(message)
            elif not self._is_over:
                self._start(message)

    def _start(self, message: bytes | None) -> None:
        """Give gRPC a message; with the lock held."""
        operation = self._closing(0) if message is None else self._messages(message, 0)
        self._is_sending = self._operate((operation,), _SENT)

    def _operate(self, operations: tuple[Any, ...], tag: str) -> bool:
        """Begin something unless the call is gone; return whether an event will tell of it."""
        is_begun: bool = self._call.operate(operations, tag)
        self._due += is_begun
        return is_begun

    def _next(self) -> bytes | None:
        """Wait for an event and return the message that it brings, if any."""
        event = self._call.next_event()
        kind = event.tag
        message: bytes | None = None
        with self._lock:
            self._due -= 1
            if kind is _RECEIVED:
                message = event.batch_operations[0].message()
                if message is not None and not self._is_over:
                    self._operate(self._receive, _RECEIVED)
            elif kind is _SENT:
                self._is_sending = False
                if self._outgoing and not self._is_over:
                    self._start(self._outgoing.popleft())
            elif kind is _STATUS:
                self._is_over = True
                self._outgoing.clear()
                self._end = _end(event, self._core)
        return message

    def _drain(self) -> None:
        """End the call, wait for what gRPC still has to say of it, and free the channel."""
        with self._lock:
            if not self._is_over:
                self._call.cancel(_CANCELLED, "closed")
        while self._due:
            self._next()
        self._channel.close()


def _end(event: Any, core: Any) -> End:
    for operation in event.batch_operations:
        if operation.type() == core.OperationType.receive_status_on_client:
            known = {code.value[0]: code for code in grpc.StatusCode}
            code = known.get(operation.code(), grpc.StatusCode.UNKNOWN)
            trailing = [(m[0], m[1]) for m in operation.trailing_metadata() or ()]
            return End(code, operation.details() or "", trailing)
    return End(grpc.StatusCode.UNKNOWN, "no status")
