"""gRPC method handlers taken apart and put together again, for what wraps every method."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError

from headtail.errors import RequestInvalid
from headtail.server.border import error_text

Owner = TypeVar("Owner")
Request = TypeVar("Request")
Response = TypeVar("Response")
Sending = Callable[[Owner, Request, grpc.ServicerContext, Callable[[Response | None], None]], None]
Answering = Callable[[Owner, Request, grpc.ServicerContext], Iterator[Response]]
_KINDS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class Method:
    """What a method does, run where it was to be run; subclasses do something first."""

    def __init__(self, handler: Any) -> None:
        """Take on the method of `handler` and what gRPC reads from it."""
        self.behavior = getattr(handler, _KINDS[_kind(handler)][0])
        self.has_stream = handler.request_streaming
        self.experimental_thread_pool = getattr(self.behavior, "experimental_thread_pool", None)
        self.experimental_non_blocking = getattr(self.behavior, "experimental_non_blocking", False)


def non_blocking(
    method: Sending[Owner, Request, Response],
) -> Answering[Owner, Request, Response]:
    """Return `method` as one that gRPC hands a function to send with, which takes None for the end.

    Such a call keeps no thread while it is open. gRPC's stubs know only of generators.
    """
    vars(method)["experimental_non_blocking"] = True
    return cast(Answering[Owner, Request, Response], method)


def with_method(
    handler: Any, method: Callable[..., Any], read: Callable[[bytes], Any] | None
) -> Any:
    """Return a handler of the same kind that runs `method` on what `read` makes of messages."""
    return _KINDS[_kind(handler)][1](method, read, handler.response_serializer)


class Wrapper(grpc.ServerInterceptor):
    """Wraps every method once."""

    def __init__(self, wrap: Callable[[str, Any], Any]) -> None:
        """Remember what makes a handler of a method's name and its handler."""
        self.wrap = wrap
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return the method's handler, wrapped; None where there is no such method."""
        name: str = handler_call_details.method
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        known, wrapped = self._wrapped.get(name, (None, None))
        if known is not handler:
            wrapped = self.wrap(name, handler)
            self._wrapped[name] = handler, wrapped
        return wrapped


def behavior_of(handler: Any, method: str, wrappers: Sequence[Wrapper]) -> Callable[..., Any]:
    """Return what a method does behind its wrappers, the first outermost, without a server."""
    for wrapper in reversed(wrappers):
        handler = wrapper.wrap(method, handler)
    behavior: Callable[..., Any] = getattr(handler, _KINDS[_kind(handler)][0])
    return behavior


def reader() -> Wrapper:
    """Return what answers a message that cannot be parsed with INVALID_ARGUMENT.

    Left to gRPC it would be INTERNAL with a traceback in the log, and grpcio 1.85 keeps some twenty
    objects of each such call for good.
    """
    return Wrapper(_with_reader)


def _with_reader(_name: str, handler: Any) -> Any:
    if handler.request_deserializer is None:
        return handler
    return with_method(handler, _Reading(handler), _reading(handler.request_deserializer))


class _Malformed:
    """A message that could not be parsed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _reading(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            return _Malformed(str(error))

    return read


class _Reading(Method):
    def __call__(self, argument: Any, context: grpc.ServicerContext, *send: Any) -> Any:
        if self.has_stream:
            argument = (_checked(message, context) for message in argument)
        else:
            argument = _checked(argument, context)
        return self.behavior(argument, context, *send)


def _checked(message: Any, context: grpc.ServicerContext) -> Any:
    if isinstance(message, _Malformed):
        error = RequestInvalid("message", message.reason)
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, error_text(error))
    return message


def _kind(handler: Any) -> tuple[bool, bool]:
    return handler.request_streaming, handler.response_streaming
