"""Is the fog's tail the very one that this agent's head belongs to, and is it ready."""

import time
from dataclasses import dataclass

import grpc
from grpc import StatusCode

from headtail.errors import FogUnavailable, RequestInvalid
from headtail.inference.grpc_service_pb2 import (
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
)
from headtail.tensor import OIP_DATATYPES, TensorSpec
from headtail.v1.control_pb2 import ListBundlesRequest, ListBundlesResponse

SERVICE = "/inference.GRPCInferenceService/"
CONTROL_SERVICE = "/headtail.v1.Control/"


@dataclass(frozen=True, slots=True)
class Tail:
    """What the agent wants of the fog."""

    name: str
    """Under which the fog serves it."""
    version: str
    """The bundle's."""
    inputs: tuple[TensorSpec, ...]
    """As they travel."""
    bundle: str
    """The bundle's name."""
    digest: str
    """The bundle's."""

    @property
    def key(self) -> tuple[str, str]:
        """Name and version, as a request names them."""
        return self.name, self.version


def check_fog(channel: grpc.Channel, fog: str, tail: Tail, deadline_s: float) -> None:
    """Raise unless the fog serves the very tail.

    Args:
        channel: To the fog.
        fog: HOST:PORT, for the texts.
        tail: What is wanted of it.
        deadline_s: When the last answer must be there, on Python's monotonic clock.

    Raises:
        FogUnavailable: If the tail is not ready.
        RequestInvalid: If another tail is served under its name.
        grpc.RpcError: If a call fails.
    """
    _check_model(channel, fog, tail, deadline_s)
    _check_digest(channel, fog, tail, deadline_s)
    _check_ready(channel, fog, tail, deadline_s)


def _check_model(channel: grpc.Channel, fog: str, tail: Tail, deadline_s: float) -> None:
    ask = channel.unary_unary(
        SERVICE + "ModelMetadata",
        request_serializer=ModelMetadataRequest.SerializeToString,
        response_deserializer=ModelMetadataResponse.FromString,
    )
    request = ModelMetadataRequest(name=tail.name, version=tail.version)
    model = ask(request, timeout=_remaining_s(deadline_s))
    served = {t.name: t.datatype for t in model.inputs}
    wanted = {s.name: OIP_DATATYPES[s.dtype] for s in tail.inputs}
    if served != wanted:
        text = f"'{tail.name}' takes {served} there, {wanted} here"
        raise RequestInvalid(f"fog {fog}", text)


def _check_digest(channel: grpc.Channel, fog: str, tail: Tail, deadline_s: float) -> None:
    """Compare the bundles; a fog that is not ours (Triton, say) cannot be asked."""
    ask = channel.unary_unary(
        CONTROL_SERVICE + "ListBundles",
        request_serializer=ListBundlesRequest.SerializeToString,
        response_deserializer=ListBundlesResponse.FromString,
    )
    try:
        listed = ask(ListBundlesRequest(), timeout=_remaining_s(deadline_s)).bundles
    except grpc.RpcError as error:
        if error.code() is StatusCode.UNIMPLEMENTED:
            return
        raise
    for bundle in listed:
        same = (bundle.name, bundle.version) == (tail.bundle, tail.version)
        if same and bundle.digest != tail.digest:
            raise RequestInvalid(
                f"fog {fog}",
                f"its {bundle.name} {bundle.version} is bundle {bundle.digest[:12]},"
                f" this agent's is {tail.digest[:12]}",
            )


def _check_ready(channel: grpc.Channel, fog: str, tail: Tail, deadline_s: float) -> None:
    ask = channel.unary_unary(
        SERVICE + "ModelReady",
        request_serializer=ModelReadyRequest.SerializeToString,
        response_deserializer=ModelReadyResponse.FromString,
    )
    request = ModelReadyRequest(name=tail.name, version=tail.version)
    if not ask(request, timeout=_remaining_s(deadline_s)).ready:
        raise FogUnavailable(fog, f"'{tail.name}' is not ready")


def _remaining_s(deadline_s: float) -> float:
    return max(0.001, deadline_s - time.monotonic())
