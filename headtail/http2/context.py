"""What a method is told of its call, and tells of its end; as gRPC's own context does."""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import grpc

from headtail.http2 import frames
from headtail.http2.answers import Answers
from headtail.http2.frames import ErrorCode
from headtail.http2.metadata import End, Headers, Metadata, metadata, timeout_s
from headtail.http2.outgoing import Outgoing
from headtail.http2.transport import Tls, Transport
from headtail.server.origin import peer_text

log = logging.getLogger(__name__)


class Aborted(Exception):
    """Raised by `abort`, as gRPC does."""


class CallContext(grpc.ServicerContext):
    """One call."""

    def __init__(
        self, headers: Headers, transport: Transport, outgoing: Outgoing, answers: Answers
    ) -> None:
        """Begin with status OK."""
        self._answers = answers
        self._headers = headers
        self._transport = transport
        self._outgoing = outgoing
        self._peer = _peer(transport.socket)
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] | None = []
        self._code, self._details = grpc.StatusCode.OK, ""
        self._trailing: Metadata = ()
        text = dict(headers).get("grpc-timeout")
        limit_s = None if text is None else timeout_s(text)
        self.give_up_s = None if limit_s is None else time.monotonic() + limit_s
        """The call's deadline, a monotonic time; None where it has none."""

    @property
    def end(self) -> End:
        """How the call ends."""
        return End(self._code, self._details, self._trailing)

    def over(self) -> None:
        """Tell who asked that the call is over; its socket is closed next."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except Exception:
                log.exception("a callback at the end of a call failed")

    def end_with(self, end: End) -> None:
        """End with this status."""
        self._code, self._details = end.code, end.details

    # gRPC's interface.

    def peer(self) -> str:
        """Return where the call comes from, in gRPC's notation."""
        return self._peer

    def auth_context(self) -> Any:
        """Return what TLS knows of the client, under gRPC's names."""
        if not isinstance(self._transport, Tls):
            return {}
        tls = self._transport.tls
        properties = {"ssl_tls_version": [(tls.version() or "").encode()]}
        certificate = tls.getpeercert(binary_form=True)
        if certificate:
            properties["x509_pem_cert"] = [ssl.DER_cert_to_PEM_cert(certificate).encode()]
        return properties

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return what the client sent along."""
        return metadata(self._headers)

    def time_remaining(self) -> Any:
        """Return the seconds to the call's deadline; None where it has none."""
        return None if self.give_up_s is None else max(0.0, self.give_up_s - time.monotonic())

    def is_active(self) -> bool:
        """Return whether the call goes on."""
        return self._callbacks is not None and not self._outgoing.is_over

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have `callback` called once the call is over; return False if it is."""
        with self._lock:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    def cancel(self) -> bool:
        """Break the call off; return whether it went on."""
        with self._lock:
            if self._callbacks is None:
                return False
            self._outgoing.put(frames.reset(self._outgoing.stream, ErrorCode.CANCEL))
            self._outgoing.break_off()
            return True

    def set_code(self, code: grpc.StatusCode) -> None:
        """End with this status."""
        self._code = code

    def set_details(self, details: str) -> None:
        """End with this text."""
        self._details = details

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """End with this metadata."""
        self._trailing = trailing_metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End now, with a status that is not OK."""
        is_ok = code is grpc.StatusCode.OK
        self._code, self._details = grpc.StatusCode.UNKNOWN if is_ok else code, details
        raise Aborted(details)

    def abort_with_status(self, status: Any) -> NoReturn:
        """End now."""
        self._trailing = status.trailing_metadata or ()
        self.abort(status.code, status.details)

    def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Begin the answer with this.

        Raises:
            ValueError: If it has begun.
        """
        if not self._answers.begin(initial_metadata):
            raise ValueError("expected initial metadata before the first message")

    def code(self) -> grpc.StatusCode:
        """Return the status that the call ends with."""
        return self._code

    def details(self) -> str:
        """Return the text that the call ends with."""
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the metadata that the call ends with."""
        return tuple(self._trailing)

    def peer_identities(self) -> None:
        """Not known: who calls stands in `auth_context`."""
        return

    def peer_identity_key(self) -> None:
        """Not known, as `peer_identities`."""
        return

    def disable_next_message_compression(self) -> None:
        """Do nothing: no message is compressed."""


def _peer(connected: socket.socket) -> str:
    try:
        return peer_text(connected.getpeername())
    except OSError:
        return "unknown"
