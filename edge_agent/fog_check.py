"""Is the fog's tail the very one that this agent's head belongs to, and is it ready."""

import time
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import StatusCode

from edge_agent.foreign_fog import Ask, Served, find_foreign
from edge_agent.tail import SERVICE, Tail
from headtail.errors import FogUnavailable, RequestInvalid
from headtail.inference.grpc_service_pb2 import (
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
)
from headtail.tensor import OIP_DATATYPES
from headtail.v1.control_pb2 import BundleInfo, ListBundlesRequest, ListBundlesResponse

__all__ = ["CONTROL_SERVICE", "SERVICE", "Served", "Tail", "check_fog"]

CONTROL_SERVICE = "/headtail.v1.Control/"
Response = TypeVar("Response", bound=Message)


def check_fog(channel: grpc.Channel, fog: str, tail: Tail, deadline_s: float) -> Served:
    """Return what may be asked of the fog, if it serves the very tail.

    Args:
        channel: To the fog.
        fog: HOST:PORT, for the texts.
        tail: What is wanted of it.
        deadline_s: When the last answer must be there, on Python's monotonic clock.

    Raises:
        FogUnavailable: If the tail is not ready.
        ModelNotFound: If a fog that is not ours has the tail in other versions only.
        RequestInvalid: If another tail is served under its name.
        grpc.RpcError: If a call fails.
    """

    def ask(method: str, request: Any, kind: type[Response]) -> Response:
        call = channel.unary_unary(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=kind.FromString,
        )
        answer: Response = call(request, timeout=max(0.001, deadline_s - time.monotonic()))
        return answer

    bundles = _bundles(ask)
    served = Served(tail.version) if bundles is not None else find_foreign(ask, fog, tail)
    _check_model(ask, fog, tail, served.version)
    for bundle in bundles or ():
        _check_digest(fog, tail, bundle)
    request = ModelReadyRequest(name=tail.name, version=served.version)
    if not ask(f"{SERVICE}ModelReady", request, ModelReadyResponse).ready:
        raise FogUnavailable(fog, f"'{tail.name}' is not ready")
    return served


def _check_model(ask: Ask[Any], fog: str, tail: Tail, version: str) -> None:
    request = ModelMetadataRequest(name=tail.name, version=version)
    model = ask(f"{SERVICE}ModelMetadata", request, ModelMetadataResponse)
    there = {t.name: t.datatype for t in model.inputs}
    wanted = {s.name: OIP_DATATYPES[s.dtype] for s in tail.inputs}
    if there != wanted:
        text = f"'{tail.name}' takes {there} there, {wanted} here"
        raise RequestInvalid(f"fog {fog}", text)


def _bundles(ask: Ask[Any]) -> list[BundleInfo] | None:
    """Return the fog's bundles; None where it is not ours (Triton, say) and cannot be asked."""
    try:
        answer = ask(f"{CONTROL_SERVICE}ListBundles", ListBundlesRequest(), ListBundlesResponse)
    except grpc.RpcError as error:
        if error.code() is StatusCode.UNIMPLEMENTED:
            return None
        raise
    return list(answer.bundles)


def _check_digest(fog: str, tail: Tail, bundle: BundleInfo) -> None:
    same = (bundle.name, bundle.version) == (tail.bundle, tail.version)
    if same and bundle.digest != tail.digest:
        raise RequestInvalid(
            f"fog {fog}",
            f"its {bundle.name} {bundle.version} is bundle {bundle.digest[:12]},"
            f" this agent's is {tail.digest[:12]}",
        )
