"""Who may call what: the identity of a certificate, held against the allow list."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, cast

import grpc

from headtail.allow_list import AllowList, Right
from headtail.errors import HeadtailError, NotAllowed, Unauthenticated
from headtail.server.handlers import Method, Wrapper, with_method
from headtail.server.origin import origin_of
from headtail.server.peer import Peer, read_peer

log = logging.getLogger(__name__)

_MAX_SAID = 1024
_ADMINISTRATORS = frozenset({Right.ADMINISTER})


@dataclass(frozen=True, slots=True)
class Rules:
    """What the methods of one server ask of their callers."""

    where: str
    """What the server calls itself in errors."""
    rights: Mapping[str, frozenset[Right]]
    """Rights by `/SERVICE/METHOD`; one of them is enough. Other methods are the administrators'."""
    local_method: str = ""
    """What the server may ask itself over a Unix socket, without a certificate."""

    def needed(self, method: str) -> frozenset[Right]:
        """Return the rights of which one is enough to call `/SERVICE/METHOD`."""
        return self.rights.get(method, _ADMINISTRATORS)


class Denial(StrEnum):
    """Why a call was denied."""

    UNAUTHENTICATED = "unauthenticated"
    """Not TLS 1.3, or a certificate without an identity."""
    EXPIRED = "expired"
    """The certificate has expired since the handshake."""
    REVOKED = "revoked"
    """The allow list revokes the certificate."""
    NOT_LISTED = "not_listed"
    """The allow list does not know the identity."""
    NO_RIGHT = "no_right"
    """The identity lacks the right."""
    IMPERSONATION = "impersonation"
    """It calls itself what its certificate does not."""


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    """A call that may stay open for long."""

    peer: Peer
    method: str
    context: grpc.ServicerContext


class Authorization:
    """Decides, says once and counts."""

    def __init__(
        self,
        rules: Rules,
        allowed: Callable[[], AllowList],
        count: Callable[[Denial], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Hold callers against `allowed`; `clock` is Unix time, in seconds."""
        self.rules = rules
        self._allowed = allowed
        self._count = count
        self._clock = clock
        self._said: set[tuple[str, Denial]] = set()
        self._said_of: AllowList | None = None
        self._lock = threading.Lock()
        self._streams: set[_Stream] = set()
        self._swept_of = allowed()

    def authenticate(self, context: grpc.ServicerContext) -> Peer:
        """Return who calls.

        Raises:
            Unauthenticated: If that cannot be told.
        """
        try:
            # gRPC's stubs say bytes for what is a list of them.
            return read_peer(cast(Any, context.auth_context()), self.rules.where)
        except Unauthenticated as error:
            host = origin_of(context.peer()).rpartition(":")[0]
            raise self._denied(host, Denial.UNAUTHENTICATED, error) from error

    def check(self, peer: Peer, method: str) -> None:
        """Raise unless `peer` may call `method` now.

        Raises:
            Unauthenticated: If its certificate is no longer good.
            NotAllowed: If it lacks the right.
        """
        allowed, where = self._allowed(), self.rules.where
        if allowed is not self._swept_of:
            self._sweep(allowed)
        if self._clock() > peer.not_after:
            self.deny(peer, Denial.EXPIRED, Unauthenticated(where, "the certificate has expired"))
        if peer.fingerprint in allowed.revoked:
            self.deny(peer, Denial.REVOKED, Unauthenticated(where, "the certificate is revoked"))
        rights = allowed.rights(peer.identity)
        if not rights:
            error = NotAllowed(where, f"{peer.identity} is not on the allow list")
            self.deny(peer, Denial.NOT_LISTED, error)
        needed = self.rules.needed(method)
        if not rights & needed:
            which = " or ".join(sorted(needed))
            error = NotAllowed(where, f"{peer.identity} may not {which}")
            self.deny(peer, Denial.NO_RIGHT, error)

    def watch(self, peer: Peer, method: str, context: grpc.ServicerContext) -> None:
        """Cut a stream off when a new allow list strikes its caller off, silent as it may be."""
        stream = _Stream(peer, method, context)
        with self._lock:
            self._streams.add(stream)
        if not context.add_callback(lambda: self._forget(stream)):
            self._forget(stream)  # it is over already
        self._look_at(stream)  # the list may have changed since the caller was checked

    def _forget(self, stream: "_Stream") -> None:
        with self._lock:
            self._streams.discard(stream)

    def _sweep(self, allowed: AllowList) -> None:
        with self._lock:
            if allowed is self._swept_of:
                return
            self._swept_of = allowed
            streams = list(self._streams)
        for stream in streams:
            self._look_at(stream)

    def _look_at(self, stream: "_Stream") -> None:
        try:
            self.check(stream.peer, stream.method)
        except (Unauthenticated, NotAllowed):
            stream.context.cancel()

    def deny(self, peer: Peer, reason: Denial, error: HeadtailError) -> None:
        """Count and raise; the log has a line for the first time of each caller and reason."""
        raise self._denied(str(peer.identity), reason, error)

    def _denied(self, who: str, reason: Denial, error: HeadtailError) -> HeadtailError:
        self._count(reason)
        allowed = self._allowed()
        if allowed is not self._said_of or len(self._said) >= _MAX_SAID:
            self._said_of, self._said = allowed, set()
        if (who, reason) not in self._said:
            self._said.add((who, reason))
            log.warning("denied %s: %s (%s)", who, error, reason.value)
        return error


@dataclass(frozen=True, slots=True)
class Certified:
    """The caller whom this thread works for."""

    peer: Peer
    authorization: Authorization

    def name_as(self, claimed: str | None) -> str:
        """Return the caller's name, which is its certificate's whatever a request claims.

        Raises:
            NotAllowed: If the request claims another.
        """
        identity = self.peer.identity
        if claimed and claimed != identity.name:
            where = self.authorization.rules.where
            error = NotAllowed(where, f"{identity} calls itself '{claimed[:64]}'")
            self.authorization.deny(self.peer, Denial.IMPERSONATION, error)
        return str(identity)


certified: ContextVar[Certified | None] = ContextVar("certified", default=None)
"""Who called, where the server asks for certificates."""


def guard(authorization: Authorization) -> Wrapper:
    """Return what lets no call through before it is authorised, whatever the service."""

    def wrap(name: str, handler: Any) -> Any:
        call = _GuardedCall(authorization, name, handler)
        return with_method(handler, call, handler.request_deserializer)

    return Wrapper(wrap)


class _GuardedCall(Method):
    """A method that runs for those who may, in the pool it had; a stream is checked anew each time.

    Once a stream has begun its status may be sent from elsewhere, so it is set, not raised.
    """

    def __init__(self, authorization: Authorization, name: str, handler: Any) -> None:
        super().__init__(handler)
        self._authorization = authorization
        self._name = name
        self._is_open_ended = handler.request_streaming or handler.response_streaming

    def __call__(self, argument: Any, context: grpc.ServicerContext, *send: Any) -> Any:
        if self._name == self._authorization.rules.local_method and context.peer().startswith(
            "unix:"
        ):
            return self.behavior(argument, context, *send)  # the server's call to itself
        try:
            peer = self._authorization.authenticate(context)
            self._authorization.check(peer, self._name)
        except (Unauthenticated, NotAllowed) as error:
            fault = error
        else:
            certified.set(Certified(peer, self._authorization))
            if self._is_open_ended:
                self._authorization.watch(peer, self._name, context)
            if self.has_stream:
                argument = _Watched(argument, partial(self._may_go_on, context, peer))
            return self.behavior(argument, context, *send)
        context.abort(_status_of(fault), str(fault))

    def _may_go_on(self, context: grpc.ServicerContext, peer: Peer) -> bool:
        """Return whether a stream's next message may be taken; if not, its status is set."""
        try:
            self._authorization.check(peer, self._name)
        except (Unauthenticated, NotAllowed) as error:
            context.set_code(_status_of(error))
            context.set_details(str(error))
            return False
        return True


class _Watched:
    """A stream's messages, as long as their sender may send them."""

    def __init__(self, messages: Iterator[Any], may_go_on: Callable[[], bool]) -> None:
        self._messages = messages
        self._may_go_on = may_go_on
        ready = getattr(messages, "ready", None)
        if ready is not None:
            self.ready = ready

    def __iter__(self) -> Iterator[Any]:
        for message in self._messages:
            if not self._may_go_on():
                return
            yield message

    def __next__(self) -> Any:
        message = next(self._messages)
        if not self._may_go_on():
            raise StopIteration
        return message


def _status_of(error: HeadtailError) -> grpc.StatusCode:
    if isinstance(error, Unauthenticated):
        return grpc.StatusCode.UNAUTHENTICATED
    return grpc.StatusCode.PERMISSION_DENIED
