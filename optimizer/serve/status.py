"""Which gRPC status each error of the job service becomes, and back."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from grpc import StatusCode

from headtail.errors import (
    HeadtailError,
    JobNotFound,
    NotAllowed,
    OptimizerUnavailable,
    Overloaded,
    RemoteFailed,
    RequestInvalid,
    Unauthenticated,
    WrongState,
)
from headtail.server.border import Border

STATUS_BY_ERROR: Mapping[type[HeadtailError], StatusCode] = MappingProxyType(
    {
        JobNotFound: StatusCode.NOT_FOUND,
        RequestInvalid: StatusCode.INVALID_ARGUMENT,
        Overloaded: StatusCode.RESOURCE_EXHAUSTED,
        OptimizerUnavailable: StatusCode.UNAVAILABLE,
        Unauthenticated: StatusCode.UNAUTHENTICATED,
        NotAllowed: StatusCode.PERMISSION_DENIED,
        WrongState: StatusCode.FAILED_PRECONDITION,
        RemoteFailed: StatusCode.INTERNAL,
    }
)
WHERE = "optimizer"
BORDER = Border(WHERE, STATUS_BY_ERROR)


_REFUSED: Mapping[StatusCode, type[RequestInvalid | WrongState | Unauthenticated | NotAllowed]] = (
    MappingProxyType(
        {
            StatusCode.INVALID_ARGUMENT: RequestInvalid,
            StatusCode.FAILED_PRECONDITION: WrongState,
            StatusCode.UNAUTHENTICATED: Unauthenticated,
            StatusCode.PERMISSION_DENIED: NotAllowed,
        }
    )
)
# What the classes of errors say by themselves, on either side.
_SAID_ANYWAY = re.compile(
    r"^optimizer( service)?: "
    r"|(?<=: )(request refused|not authenticated|not allowed|overloaded|unavailable|failed): "
    r"|; retry in [\d.]+ s$"
)


def make_error(
    status: StatusCode, details: str, address: str, job: str = "", retry_delay_s: float = 0.0
) -> HeadtailError:
    """Return the error of a call that ended with `status`.

    Args:
        status: What came.
        details: The service's text.
        address: HOST:PORT of the service, for the text.
        job: The job asked for.
        retry_delay_s: When a service without room wants to be asked again.
    """
    where, text = f"optimizer {address}", _SAID_ANYWAY.sub("", " ".join(details.split()))
    if status in _REFUSED:
        return _REFUSED[status](where, text)
    match status:
        case StatusCode.NOT_FOUND:
            return JobNotFound(job)
        case StatusCode.UNAVAILABLE | StatusCode.DEADLINE_EXCEEDED | StatusCode.CANCELLED:
            return OptimizerUnavailable(address, text or "no answer in time")
        case StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(where, text, retry_delay_s)
        case StatusCode.UNIMPLEMENTED:
            return RemoteFailed(where, "this is no optimizer service")
    return RemoteFailed(where, f"{status.name}: {text}")
