"""What a fog answers instead of results, as errors of ours."""

from collections.abc import Mapping
from types import MappingProxyType

import grpc
from grpc import StatusCode

from headtail.errors import (
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
DEFAULT_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 0.1, 3600.0
RETRY_DELAY = "retry_delay_ms"
"""Name of the parameter, and of the trailing metadata where a status ends the stream."""


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


def stream_error(response: InferResponse, fog: str, model: tuple[str, str]) -> RemoteError:
    """Return the domain error of a stream's answer to one request."""
    name = str(response.parameters.get("status", ""))
    status = StatusCode.__members__.get(name, StatusCode.UNKNOWN)
    delay_s = retry_delay_s(response.parameters.get(RETRY_DELAY))
    text = " ".join(response.error.split())[:300]
    return make_error(status, text, fog, model, delay_s)


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
    return line(error.details(), error.code())


def line(details: str | None, code: StatusCode) -> str:
    """Return a status's text on one line, or its name where it has none."""
    return " ".join((details or code.name).split())[:300]
