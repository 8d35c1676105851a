"""One connection to a fog: is the tail there, and the stream of requests and replies.

The only module of the agent that knows gRPC's inference service. Sync grpcio with raw bytes: on a
persistent stream it is as fast as its asyncio sibling and far lighter.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import grpc
from grpc import StatusCode

from edge_agent.bytes_call import open_call
from edge_agent.fog_check import SERVICE, Served, Tail, check_fog
from edge_agent.foreign_fog import version_field
from headtail.errors import (
    ConfigError,
    DeadlineExceeded,
    FogUnavailable,
    HeadtailError,
    ModelNotFound,
    NotAllowed,
    Overloaded,
    RemoteError,
    RemoteFailed,
    RequestInvalid,
    Superseded,
    Unauthenticated,
    WrongState,
)
from headtail.oip import InferResponse
from headtail.protobuf import field as write_field
from headtail.tls import ClientTls, secure_channel

log = logging.getLogger(__name__)

ERROR_BY_STATUS: Mapping[StatusCode, type[HeadtailError]] = MappingProxyType(
    {
        StatusCode.NOT_FOUND: ModelNotFound,
        StatusCode.INVALID_ARGUMENT: RequestInvalid,
        StatusCode.RESOURCE_EXHAUSTED: Overloaded,
        StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
        StatusCode.UNAVAILABLE: FogUnavailable,
        StatusCode.UNAUTHENTICATED: Unauthenticated,
        StatusCode.PERMISSION_DENIED: NotAllowed,
        StatusCode.FAILED_PRECONDITION: WrongState,
        StatusCode.ABORTED: Superseded,
        StatusCode.INTERNAL: RemoteFailed,
    }
)
"""The inverse of `fog_server.status.STATUS_BY_ERROR`."""

MAX_MESSAGE_BYTES = 256 << 20
KEEPALIVE_S, KEEPALIVE_TIMEOUT_S, MAX_KEEPALIVE_S = 30.0, 10.0, 7200.0
PADDING_FIELD, PING_S = 15, 10.0
CALMED = "too many pings"
"""What gRPC says when a server hangs up on a client that pings more often than it permits."""
DEFAULT_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 0.1, 3600.0
RETRY_DELAY = "retry_delay_ms"
"""Name of the parameter, and of the trailing metadata where a status ends the stream."""


def channel_options(keepalive_s: float = KEEPALIVE_S) -> list[tuple[str, int]]:
    """Return the options of every channel to a fog.

    Args:
        keepalive_s: Silence after which the fog is pinged; a server permits no shorter one than
            it says (ours 30 s, gRPC's default 300 s) and hangs up on a client that pings more.
    """
    timeout_ms = round(min(KEEPALIVE_TIMEOUT_S, keepalive_s) * 1e3)
    return [
        ("grpc.keepalive_time_ms", round(keepalive_s * 1e3)),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        # Where this is not set, grpcio 1.85 waits 60 s for the answer whatever the line above says.
        ("grpc.http2.ping_timeout_ms", timeout_ms),
        # An open stream is a call: without one nobody needs to know whether the fog is there.
        ("grpc.keepalive_permit_without_calls", 0),
        # Otherwise gRPC stops pinging a stream on which no window is sent, after the second ping.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # A new channel must try at once: waiting between attempts is `edge_agent.backoff`'s.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]


def make_error(
    status: StatusCode,
    details: str,
    fog: str,
    model: tuple[str, str] = ("", ""),
    retry_delay_s: float = 0.0,
) -> RemoteError:
    """Return the domain error of a gRPC status.

    Args:
        status: What came.
        details: The fog's text, one line.
        fog: Address of the fog, for the text.
        model: Name and version asked for.
        retry_delay_s: When an overloaded fog wants to be asked again.
    """
    where = f"fog {fog}"
    if status is StatusCode.UNIMPLEMENTED:
        return RequestInvalid(where, "speaks no Open Inference Protocol v2 with streams")
    made: dict[StatusCode, RemoteError] = {
        StatusCode.NOT_FOUND: ModelNotFound(*model),
        StatusCode.INVALID_ARGUMENT: RequestInvalid(where, details),
        StatusCode.RESOURCE_EXHAUSTED: Overloaded(
            where, details, retry_delay_s or DEFAULT_RETRY_DELAY_S
        ),
        StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded(where),
        StatusCode.UNAVAILABLE: FogUnavailable(fog, details),
        StatusCode.UNAUTHENTICATED: Unauthenticated(where, details),
        StatusCode.PERMISSION_DENIED: NotAllowed(where, details),
        StatusCode.FAILED_PRECONDITION: WrongState(where, details),
        StatusCode.ABORTED: Superseded(where, details),
        StatusCode.CANCELLED: FogUnavailable(fog, details),
    }
    return made.get(status) or RemoteFailed(where, f"{status.name}: {details}")


class FogStream:
    """A channel with one open ModelStreamInfer call."""

    def __init__(self, channel: grpc.Channel, fog: str, version: str, served: Served) -> None:
        """Open the call.

        Args:
            channel: To the fog; this object owns it from now on.
            fog: HOST:PORT, for the texts.
            version: Of the tails in the requests to be sent.
            served: What the fog serves, and the version that it means by it.
        """
        # Of a field that comes twice the last one counts.
        self._amendment = b"" if served.version == version else version_field(served.version)
        self.serves = served.serves
        self.is_ours = served.tails is None
        """Whether it is a fog of this project, and takes what only such a one takes."""
        self._fog = fog
        self._channel = channel
        self._call = open_call(channel, SERVICE + "ModelStreamInfer")

    def send(self, request: bytes) -> None:
        """Hand over one ModelInferRequest; never waits for the fog."""
        self._call.send(request + self._amendment if self._amendment else request)

    def replies(self) -> Iterator[bytes]:
        """Yield each ModelStreamInferResponse as it arrives.

        Raises:
            RemoteError: When the stream has ended: FogUnavailable unless the fog says otherwise.
        """
        end = yield from self._call.messages()
        if end.code is StatusCode.OK:
            raise FogUnavailable(self._fog, "ended the stream")
        told = [value for key, value in end.trailing if key == RETRY_DELAY]
        delay_s = retry_delay_s(told[0]) if told else 0.0
        text = _line(end.details, end.code)
        raise make_error(end.code, text, self._fog, retry_delay_s=delay_s)

    def ping(self, padding_bytes: int, done: Callable[[float | None], None]) -> bool:
        """Call ServerLive on the same connection; return whether that could be begun.

        Args:
            padding_bytes: Of a field that no server knows, and every one skips.
            done: Told on gRPC's thread how many seconds it took, or None where it failed.
        """
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            SERVICE + "ServerLive", request_serializer=None, response_deserializer=None
        )
        start_s = time.monotonic()

        def ended(answer: "grpc.Future[bytes]") -> None:
            took_s = time.monotonic() - start_s
            is_answered = not answer.cancelled() and answer.exception() is None
            done(took_s if is_answered else None)

        try:
            content = write_field(PADDING_FIELD, bytes(padding_bytes)) if padding_bytes else b""
            call.future(content, timeout=PING_S).add_done_callback(ended)
        except ValueError:  # the channel was closed
            return False
        return True

    def finish(self) -> None:
        """Say that no more requests come; those sent may still be answered."""
        self._call.finish()

    def close(self) -> None:
        """End the stream and free the channel; `replies` then raises FogUnavailable."""
        self._call.close()


class FogClient:
    """Opens streams to one fog for one tail."""

    def __init__(
        self,
        fog: str,
        tail: Tail,
        connect_s: float,
        tls: ClientTls | None = None,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        """Remember where and what.

        Args:
            fog: HOST:PORT.
            tail: What is wanted of it.
            connect_s: Longest time of one attempt to connect, in seconds.
            tls: Our certificate and whom we trust; None is plaintext. Read for each attempt.
            keepalive_s: Silence after which the fog is pinged, in seconds.
        """
        self.fog = fog
        self.tail = tail
        self.keepalive_s = keepalive_s
        self._connect_s = connect_s
        self._tls = tls

    def connect(self) -> FogStream:
        """Make sure that the fog serves the very tail, and open a stream.

        Raises:
            FogUnavailable: If the fog does not answer, or the tail is not ready.
            ModelNotFound: If it serves no such tail.
            RequestInvalid: If it serves another tail under the name, or is no fog.
            RemoteFailed: If it failed while answering.
        """
        try:
            channel = secure_channel(self.fog, self._tls, channel_options(self.keepalive_s))
        except ConfigError as error:  # a file that is being rotated, perhaps
            raise FogUnavailable(self.fog, str(error)) from error
        deadline_s = time.monotonic() + self._connect_s
        try:
            served = check_fog(channel, self.fog, self.tail, deadline_s)
            return FogStream(channel, self.fog, self.tail.version, served)
        except grpc.RpcError as error:
            channel.close()
            raise self._error(error) from error
        except BaseException:
            channel.close()
            raise

    def learn(self, error: RemoteError) -> None:
        """Ping half as often from now on, where `error` says that the fog hung up for that."""
        if CALMED in str(error).lower().replace("_", " "):
            self.keepalive_s = min(2.0 * self.keepalive_s, MAX_KEEPALIVE_S)
            log.warning("fog %s permits fewer pings; now every %g s", self.fog, self.keepalive_s)

    def _error(self, error: grpc.RpcError) -> RemoteError:
        if error.code() is StatusCode.DEADLINE_EXCEEDED:
            return FogUnavailable(self.fog, f"no answer within {self._connect_s:g} s")
        return make_error(error.code(), one_line(error), self.fog, self.tail.key)


def stream_error(response: InferResponse, client: FogClient) -> RemoteError:
    """Return the domain error of a stream's answer to one request."""
    name = str(response.parameters.get("status", ""))
    status = StatusCode.__members__.get(name, StatusCode.UNKNOWN)
    delay_s = retry_delay_s(response.parameters.get(RETRY_DELAY))
    text = " ".join(response.error.split())[:300]
    return make_error(status, text, client.fog, client.tail.key, delay_s)


def retry_delay_s(milliseconds: object) -> float:
    """Return a fog's wish in seconds, bounded; 0 where it says none that makes sense."""
    text = milliseconds.decode() if isinstance(milliseconds, bytes) else str(milliseconds)
    return min(float(text) / 1e3, MAX_RETRY_DELAY_S) if text.isascii() and text.isdigit() else 0.0


def call_error(error: grpc.RpcError, fog: str, model: tuple[str, str]) -> RemoteError:
    """Return the domain error of a control call that failed; a fog too slow to answer is away."""
    if error.code() is StatusCode.DEADLINE_EXCEEDED:
        return FogUnavailable(fog, "no answer in time")
    return make_error(error.code(), one_line(error), fog, model)


def one_line(error: grpc.RpcError) -> str:
    """Return what gRPC says of a failed call, on one line."""
    return _line(error.details(), error.code())


def _line(details: str | None, code: StatusCode) -> str:
    return " ".join((details or code.name).split())[:300]
