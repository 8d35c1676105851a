"""Which gRPC status each domain error becomes; `edge_agent.fog_client` holds the inverse."""

from collections.abc import Mapping
from types import MappingProxyType

from grpc import StatusCode

from headtail.errors import (
    DeadlineExceeded,
    FogUnavailable,
    HeadtailError,
    ModelNotFound,
    NotAllowed,
    Overloaded,
    RemoteFailed,
    RequestInvalid,
    Superseded,
    TensorError,
    Unauthenticated,
    WrongState,
)

STATUS_BY_ERROR: Mapping[type[HeadtailError], StatusCode] = MappingProxyType(
    {
        ModelNotFound: StatusCode.NOT_FOUND,
        RequestInvalid: StatusCode.INVALID_ARGUMENT,
        Overloaded: StatusCode.RESOURCE_EXHAUSTED,
        DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
        FogUnavailable: StatusCode.UNAVAILABLE,
        Unauthenticated: StatusCode.UNAUTHENTICATED,
        NotAllowed: StatusCode.PERMISSION_DENIED,
        WrongState: StatusCode.FAILED_PRECONDITION,
        Superseded: StatusCode.ABORTED,
        RemoteFailed: StatusCode.INTERNAL,
    }
)


def status_of(error: HeadtailError) -> StatusCode:
    """Return the status an error travels as; a tensor's fault is its sender's."""
    if isinstance(error, TensorError):
        return StatusCode.INVALID_ARGUMENT
    return STATUS_BY_ERROR.get(type(error), StatusCode.INTERNAL)
