"""One fog: is the tail there, and the stream of requests and replies.

The only module of the agent that knows gRPC's inference service. The stream has a connection of its
own (`headtail.http2`); grpcio asks all else.
"""

import logging
import time
from collections.abc import Callable, Iterator

import grpc
from grpc import StatusCode

from edge_agent.fog_check import SERVICE, Served, Tail, check_fog
from edge_agent.fog_errors import RETRY_DELAY, line, make_error, one_line, retry_delay_s
from edge_agent.foreign_fog import version_field
from headtail.config import parse_address
from headtail.errors import ConfigError, FogUnavailable, RemoteError
from headtail.http2.call import PROTOCOLS, Patience, StreamCall
from headtail.http2.transport import describe
from headtail.oip import Content
from headtail.protobuf import field as write_field
from headtail.tls import ClientTls, client_context, secure_channel

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 256 << 20
KEEPALIVE_S, KEEPALIVE_TIMEOUT_S, MAX_KEEPALIVE_S = 30.0, 10.0, 7200.0
PADDING_FIELD, PING_S = 15, 10.0
CALMED = "too many pings"
"""What gRPC says when a server hangs up on a client that pings more often than it permits."""


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


class FogStream:
    """An open ModelStreamInfer call, and a channel for calls beside it."""

    def __init__(
        self, channel: grpc.Channel, call: StreamCall, fog: str, version: str, served: Served
    ) -> None:
        """Take both over.

        Args:
            channel: To the fog; this object owns it from now on.
            call: To the same fog; likewise.
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
        self._call = call

    def send(self, request: bytes, body: bytes | memoryview = b"") -> None:
        """Hand over one ModelInferRequest, with what follows it; never waits for the fog."""
        if self._amendment:
            request, body = b"".join((request, body, self._amendment)), b""
        self._call.send(request, body)

    def replies(self) -> Iterator[Content]:
        """Yield each ModelStreamInferResponse as it arrives.

        Raises:
            RemoteError: When the stream has ended: FogUnavailable unless the fog says otherwise.
        """
        end = yield from self._call.messages()
        if end.code is StatusCode.OK:
            raise FogUnavailable(self._fog, "ended the stream")
        told = [value for key, value in end.trailing if key == RETRY_DELAY]
        delay_s = retry_delay_s(told[0]) if told else 0.0
        text = line(end.details, end.code)
        raise make_error(end.code, text, self._fog, retry_delay_s=delay_s)

    def ping(self, padding_bytes: int, done: Callable[[float | None], None]) -> bool:
        """Call ServerLive beside the stream; return whether that could be begun.

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
        self._channel.close()


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
            call = self._open_call(deadline_s)
            return FogStream(channel, call, self.fog, self.tail.version, served)
        except grpc.RpcError as error:
            channel.close()
            raise self._error(error) from error
        except BaseException:
            channel.close()
            raise

    def _open_call(self, deadline_s: float) -> StreamCall:
        patience = Patience(
            max(0.001, deadline_s - time.monotonic()),
            self.keepalive_s,
            min(KEEPALIVE_TIMEOUT_S, self.keepalive_s),
        )
        address = parse_address(self.fog, "--fog")
        try:
            tls = None if self._tls is None else client_context(self._tls, PROTOCOLS)
            return StreamCall(
                address, SERVICE + "ModelStreamInfer", tls, patience, MAX_MESSAGE_BYTES
            )
        except OSError as error:
            raise FogUnavailable(self.fog, describe(error)) from error
        except ConfigError as error:  # as above
            raise FogUnavailable(self.fog, str(error)) from error

    def learn(self, error: RemoteError) -> None:
        """Ping half as often from now on, where `error` says that the fog hung up for that."""
        if CALMED in str(error).lower().replace("_", " "):
            self.keepalive_s = min(2.0 * self.keepalive_s, MAX_KEEPALIVE_S)
            log.warning("fog %s permits fewer pings; now every %g s", self.fog, self.keepalive_s)

    def _error(self, error: grpc.RpcError) -> RemoteError:
        if error.code() is StatusCode.DEADLINE_EXCEEDED:
            return FogUnavailable(self.fog, f"no answer within {self._connect_s:g} s")
        return make_error(error.code(), one_line(error), self.fog, self.tail.key)
