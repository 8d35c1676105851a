"""The HTTP side: alerts that come with the secret, and pages for whoever watches."""

import hmac
import logging
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from headtail.config import parse_address
from headtail.errors import ConfigError
from headtail.liveness import Check
from headtail.metrics import LIVE, READY
from reoptimization.alerts import Notification, decode
from reoptimization.webhook_config import Config

log = logging.getLogger(__name__)

ALERTS, METRICS = "/alerts", "/metrics"
READ_TIMEOUT_S = 10.0
"""A client that sends nothing for so long is dropped."""
MOST_CALLERS = 32
"""At once; each holds a thread."""
_MOST_DIGITS = 12
MIN_SECRET = 16
"""Characters that the secret must have."""


class Refused(Exception):
    """A call that is not taken."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Receiver:
    """A running HTTP server; `address` is where it listens."""

    def __init__(
        self,
        config: Config,
        registry: CollectorRegistry,
        probe: Check,
        take: Callable[[Notification], object],
        refused: Callable[[HTTPStatus], None] = lambda status: None,
    ) -> None:
        """Listen and answer.

        Args:
            config: Where, the secret's file, and the largest body.
            registry: What /metrics shows.
            probe: What /livez and /readyz ask.
            take: Takes what Alertmanager sends and returns a dataclass for the answer.
            refused: Told of each call that was not taken.

        Raises:
            ConfigError: If the address or the secret cannot be used.
        """
        read_secret(Path(config.secret))
        self.config, self.registry, self.probe, self.take = config, registry, probe, take
        self.refused = refused
        host, port = parse_address(config.listen, "listen")
        try:
            self._server = _Server((host, port), self)
        except OSError as error:
            reason = f"cannot listen on {config.listen}: {error.strerror}"
            raise ConfigError("listen", reason) from error
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="receiver", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def read_secret(path: Path) -> bytes:
    """Return the secret.

    Raises:
        ConfigError: If it cannot be read or is too short.
    """
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from error
    if len(secret) < MIN_SECRET:
        raise ConfigError(str(path), f"expected a secret of at least {MIN_SECRET} characters")
    return secret


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        self._places = threading.BoundedSemaphore(MOST_CALLERS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__((address[0].strip("[]"), address[1]), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a call broke off: %s", sys.exc_info()[1])


class _Handler(BaseHTTPRequestHandler):
    timeout = READ_TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        """Show a page."""
        receiver = self.server.receiver
        if self.path == METRICS:
            self._answer(HTTPStatus.OK, generate_latest(receiver.registry), CONTENT_TYPE_LATEST)
        elif self.path in (LIVE, READY):
            wrong = receiver.probe()
            status = HTTPStatus.OK if wrong is None else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{wrong or 'ok'}\n".encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"no such page\n")

    def do_POST(self) -> None:
        """Take alerts."""
        receiver = self.server.receiver
        try:
            taken = receiver.take(self._read())
        except Refused as refused:
            receiver.refused(refused.status)
            log.warning("call from %s refused: %s", self.client_address[0], refused)
            self.close_connection = True  # what it sent may not have been read
            self._answer(refused.status, f"{refused}\n".encode())
        except ConfigError as error:
            log.error("%s", error)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"cannot be taken now\n")
        else:
            told = msgspec.json.encode(taken)
            self._answer(HTTPStatus.OK, told + b"\n", "application/json")

    def _read(self) -> Notification:
        config = self.server.receiver.config
        if self.path != ALERTS:
            raise Refused(HTTPStatus.NOT_FOUND, f"expected {ALERTS}")
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        expected = b"Bearer " + read_secret(Path(config.secret))
        if not hmac.compare_digest(given, expected):
            raise Refused(HTTPStatus.UNAUTHORIZED, "not the secret")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if len(length) > _MOST_DIGITS or int(length) > config.body_bytes:
            text = f"expected at most {config.body_bytes} bytes"
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        try:
            return decode(self.rfile.read(int(length)))
        except TimeoutError:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "the body did not come") from None
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"no alerts: {error}") from None

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: what counts is logged by who takes it."""
