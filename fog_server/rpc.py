"""The border between domain errors and gRPC: every unary call passes through `guarded`."""

import logging
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc

from fog_server.status import status_of
from headtail.errors import HeadtailError, Overloaded, RemoteFailed
from headtail.oip import Parameter

log = logging.getLogger(__name__)
RETRY_DELAY = "retry_delay_ms"
MAX_TEXT = 500
"""Characters of an error's text that are sent: it may quote what a client sent, and gRPC gives up
on a call whose trailers, percent-encoded, are over 8 KiB."""
Request = TypeVar("Request")
Response = TypeVar("Response")


def guarded(
    behavior: Callable[[Request, grpc.ServicerContext], Response],
) -> Callable[[Request, grpc.ServicerContext], Response]:
    """Return `behavior` with every error turned into a gRPC status."""

    def call(request: Request, context: grpc.ServicerContext) -> Response:
        try:
            return behavior(request, context)
        except Exception as error:  # noqa: BLE001 - the RPC border
            fault = domain_error(error)
        abort(context, fault)

    return call


def domain_error(error: Exception) -> HeadtailError:
    """Return `error` if it is ours; log any other and return that the call failed.

    The traceback goes: its frames hold the message, and who keeps the error in one of them closes
    a circle, so that refused messages would stay in memory until Python looks for circles.
    """
    if isinstance(error, HeadtailError):
        return error.with_traceback(None)
    log.error("request failed: %s", type(error).__name__, exc_info=error)
    return RemoteFailed("fog", f"{type(error).__name__}: {_first_line(error)}")


def abort(context: grpc.ServicerContext, error: HeadtailError) -> NoReturn:
    """End a call with the status of `error`."""
    if isinstance(error, Overloaded):
        context.set_trailing_metadata(((RETRY_DELAY, str(_milliseconds(error))),))
    context.abort(status_of(error), error_text(error))


def error_text(error: HeadtailError) -> str:
    """Return what the other side is told, on one line and not too long."""
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def stream_parameters(error: HeadtailError) -> dict[str, Parameter]:
    """Return the parameters by which a stream's answer says what went wrong."""
    parameters: dict[str, Parameter] = {"status": status_of(error).name}
    if isinstance(error, Overloaded):
        parameters[RETRY_DELAY] = _milliseconds(error)
    return parameters


def _milliseconds(error: Overloaded) -> int:
    return max(1, round(error.retry_delay_s * 1e3))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
