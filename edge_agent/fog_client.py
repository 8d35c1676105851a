"""One connection to a fog: is the tail there, and the stream of requests and replies.

The only module of the agent that knows gRPC's inference service. Sync grpcio with raw bytes: on a
persistent stream it is as fast as its asyncio sibling and far lighter.
"""

import queue
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import grpc
from grpc import StatusCode

from headtail.errors import (
    DeadlineExceeded,
    FogUnavailable,
    HeadtailError,
    ModelNotFound,
    Overloaded,
    RemoteError,
    RemoteFailed,
    RequestInvalid,
)
from headtail.inference.grpc_service_pb2 import ModelReadyRequest, ModelReadyResponse

ERROR_BY_STATUS: Mapping[StatusCode, type[HeadtailError]] = MappingProxyType(
    {
        StatusCode.NOT_FOUND: ModelNotFound,
        StatusCode.INVALID_ARGUMENT: RequestInvalid,
        StatusCode.RESOURCE_EXHAUSTED: Overloaded,
        StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
        StatusCode.UNAVAILABLE: FogUnavailable,
        StatusCode.INTERNAL: RemoteFailed,
    }
)
"""The inverse of `fog_server.status.STATUS_BY_ERROR`."""

SERVICE = "/inference.GRPCInferenceService/"
MAX_MESSAGE_BYTES = 256 << 20
DEFAULT_RETRY_DELAY_S = 0.1


def channel_options() -> list[tuple[str, int]]:
    """Return the options of every channel to a fog."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # A new channel must try at once: waiting between attempts is `edge_agent.backoff`'s.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]


def make_error(
    status: StatusCode, details: str, fog: str, model: str = "", retry_delay_s: float = 0.0
) -> RemoteError:
    """Return the domain error of a gRPC status.

    Args:
        status: What came.
        details: The fog's text, one line.
        fog: Address of the fog, for the text.
        model: The model asked for, for the text.
        retry_delay_s: When an overloaded fog wants to be asked again.
    """
    where = f"fog {fog}"
    kind = ERROR_BY_STATUS.get(status)
    if kind is Overloaded:
        return Overloaded(where, details, retry_delay_s or DEFAULT_RETRY_DELAY_S)
    if kind is FogUnavailable or status is StatusCode.CANCELLED:
        return FogUnavailable(fog, details)
    if kind is ModelNotFound:
        return ModelNotFound(model, "", (details,))
    if kind is RequestInvalid:
        return RequestInvalid(where, details)
    if status is StatusCode.UNIMPLEMENTED:
        return RequestInvalid(where, "speaks no Open Inference Protocol v2 with streams")
    return RemoteFailed(where, f"{status.name}: {details}")


class FogStream:
    """A channel with one open ModelStreamInfer call."""

    def __init__(self, channel: grpc.Channel, fog: str) -> None:
        """Open the call on `channel`, which this object owns from now on."""
        self._channel = channel
        self._fog = fog
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            SERVICE + "ModelStreamInfer", request_serializer=None, response_deserializer=None
        )
        self._call = call(iter(self._requests.get, None))

    def send(self, request: bytes) -> None:
        """Hand over one ModelInferRequest; never blocks."""
        self._requests.put(request)

    def replies(self) -> Iterator[bytes]:
        """Yield each ModelStreamInferResponse as it arrives.

        Raises:
            RemoteError: When the stream has ended: FogUnavailable unless the fog says otherwise.
        """
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise make_error(error.code(), one_line(error), self._fog) from error
        raise FogUnavailable(self._fog, "ended the stream")

    def close(self) -> None:
        """End the stream and free the channel; `replies` then raises FogUnavailable."""
        self._requests.put(None)
        self._call.cancel()
        self._channel.close()


class FogClient:
    """Opens streams to one fog for one model."""

    def __init__(self, fog: str, model: str, version: str, connect_s: float) -> None:
        """Remember where and what.

        Args:
            fog: HOST:PORT.
            model: Name under which the fog serves the tail.
            version: The bundle's.
            connect_s: Longest time of one attempt.
        """
        self.fog = fog
        self.model = model
        self.version = version
        self._connect_s = connect_s

    def connect(self) -> FogStream:
        """Make sure that the fog serves the tail, and open a stream.

        Raises:
            FogUnavailable: If the fog does not answer, or the tail is not ready.
            ModelNotFound: If it serves no such tail.
            RequestInvalid: If what answers is no fog.
        """
        channel = grpc.insecure_channel(self.fog, options=channel_options())
        try:
            self._check_ready(channel)
            return FogStream(channel, self.fog)
        except BaseException:
            channel.close()
            raise

    def _check_ready(self, channel: grpc.Channel) -> None:
        ask = channel.unary_unary(
            SERVICE + "ModelReady",
            request_serializer=ModelReadyRequest.SerializeToString,
            response_deserializer=ModelReadyResponse.FromString,
        )
        request = ModelReadyRequest(name=self.model, version=self.version)
        try:
            is_ready = ask(request, timeout=self._connect_s).ready
        except grpc.RpcError as error:
            if error.code() is StatusCode.DEADLINE_EXCEEDED:
                reason = f"no answer within {self._connect_s:g} s"
                raise FogUnavailable(self.fog, reason) from error
            raise make_error(error.code(), one_line(error), self.fog, self.model) from error
        if not is_ready:
            raise FogUnavailable(self.fog, f"'{self.model}' version {self.version} is not ready")


def one_line(error: grpc.RpcError) -> str:
    """Return what gRPC says of a failed call, on one line."""
    return " ".join((error.details() or error.code().name).split())[:300]
