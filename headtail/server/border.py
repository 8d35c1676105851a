"""The border between domain errors and gRPC: every unary call passes through `guarded`."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import grpc
from grpc import StatusCode

from headtail.errors import HeadtailError, Overloaded, RemoteFailed, TensorError

log = logging.getLogger(__name__)
RETRY_DELAY = "retry_delay_ms"
MAX_TEXT = 500
"""Characters of an error's text that are sent: it may quote what a client sent, and gRPC gives up
on a call whose trailers, percent-encoded, are over 8 KiB."""
Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True, slots=True)
class Border:
    """How the errors of one program leave it."""

    where: str
    """What the program calls itself in errors."""
    statuses: Mapping[type[HeadtailError], StatusCode]
    """The status that each error travels as; others are INTERNAL."""

    def status_of(self, error: HeadtailError) -> StatusCode:
        """Return the status an error travels as; a tensor's fault is its sender's."""
        if isinstance(error, TensorError):
            return StatusCode.INVALID_ARGUMENT
        return self.statuses.get(type(error), StatusCode.INTERNAL)

    def guarded(
        self, behavior: Callable[[Request, grpc.ServicerContext], Response]
    ) -> Callable[[Request, grpc.ServicerContext], Response]:
        """Return `behavior` with every error turned into a gRPC status."""

        def call(request: Request, context: grpc.ServicerContext) -> Response:
            try:
                return behavior(request, context)
            except Exception as error:  # noqa: BLE001 - the RPC border
                fault = self.domain_error(error)
            self.abort(context, fault)

        return call

    def guarded_stream(
        self, behavior: Callable[[Request, grpc.ServicerContext], Iterator[Response]]
    ) -> Callable[[Request, grpc.ServicerContext], Iterator[Response]]:
        """Return a `behavior` that answers many times, with every error turned into a status."""

        def call(request: Request, context: grpc.ServicerContext) -> Iterator[Response]:
            try:
                yield from behavior(request, context)
                return
            except Exception as error:  # noqa: BLE001 - the RPC border
                fault = self.domain_error(error)
            self.abort(context, fault)

        return call

    def domain_error(self, error: Exception) -> HeadtailError:
        """Return `error` if it is ours; log any other and return that the call failed.

        The traceback goes: its frames hold the message, and who keeps the error in one of them
        closes a circle, so that refused messages would stay in memory until Python looks for
        circles.
        """
        if isinstance(error, HeadtailError):
            return error.with_traceback(None)
        log.error("request failed: %s", type(error).__name__, exc_info=error)
        return RemoteFailed(self.where, f"{type(error).__name__}: {_first_line(error)}")

    def abort(self, context: grpc.ServicerContext, error: HeadtailError) -> NoReturn:
        """End a call with the status of `error`."""
        if isinstance(error, Overloaded):
            context.set_trailing_metadata(((RETRY_DELAY, str(milliseconds(error))),))
        context.abort(self.status_of(error), error_text(error))


def error_text(error: HeadtailError) -> str:
    """Return what the other side is told, on one line and not too long."""
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def milliseconds(error: Overloaded) -> int:
    """Return when to try again, as it travels."""
    return max(1, round(error.retry_delay_s * 1e3))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
