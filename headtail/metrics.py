"""Prometheus plumbing shared by the runtimes: buckets, registry and the page itself."""

import logging
from collections.abc import Callable, Iterable, Mapping
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, Counter, make_wsgi_app, start_http_server

from headtail.config import parse_address
from headtail.errors import ConfigError
from headtail.liveness import Check

# From 50 us (a tiny head) to 10 s (a link that is nearly gone), in steps of about 2.
LATENCY_BUCKETS_S = (
    5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip

Document = Callable[[], bytes | None]
"""Returns a page of JSON, or None while there is none."""
LOG_LEVELS = ("warning", "error")
LIVE, READY = "/livez", "/readyz"
"""Paths of the probes, as Kubernetes' own components name them."""
READ_TIMEOUT_S = 10.0
"""A client that sends no request in this time is dropped, for each holds a thread."""


class LogLines(logging.Handler):
    """Counts what is logged as a warning or worse, as PREFIX_log_lines_total by level."""

    def __init__(self, prefix: str, registry: CollectorRegistry) -> None:
        """Count from now on, until `close`."""
        super().__init__(logging.WARNING)
        lines = Counter(
            f"{prefix}_log_lines", "Lines logged, by severity.", ["level"], registry=registry
        )
        self._warnings, self._errors = (lines.labels(level) for level in LOG_LEVELS)
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one line."""
        (self._errors if record.levelno >= logging.ERROR else self._warnings).inc()

    def close(self) -> None:
        """Count no more."""
        logging.getLogger().removeHandler(self)
        super().close()


class MetricsPage:
    """A running HTTP server for one registry and the probes; `address` is where it listens."""

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        probes: Mapping[str, Check] | None = None,
        documents: Mapping[str, Document] | None = None,
    ) -> None:
        """Listen on HOST:PORT; port 0 takes a free one.

        Args:
            address: HOST:PORT.
            registry: Shown on every other path.
            probes: By path; answered with 200, or with 503 and what is wrong.
            documents: By path: JSON, or 404 while there is none.

        Raises:
            ConfigError: If the address is malformed or in use.
        """
        host, port = parse_address(address, "--metrics")
        try:
            server, thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise ConfigError(
                "--metrics", f"cannot listen on {address}: {error.strerror}"
            ) from error
        server.set_app(_Pages(registry, probes or {}, documents or {}))
        server.RequestHandlerClass = _Handler
        self.address = f"{host}:{server.server_port}"
        self._thread = thread
        self._server = server

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(WSGIRequestHandler):
    """Reads one request, and does not log it."""

    timeout = READ_TIMEOUT_S

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Pages:
    """The probes, the documents, and the metrics everywhere else."""

    def __init__(
        self,
        registry: CollectorRegistry,
        probes: Mapping[str, Check],
        documents: Mapping[str, Document],
    ) -> None:
        self._metrics = make_wsgi_app(registry)
        self._probes = probes
        self._documents = documents

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        find = self._documents.get(environ["PATH_INFO"])
        if find is not None:
            document = find()
            status = "404 Not Found" if document is None else "200 OK"
            start(status, [("Content-Type", "application/json")])
            return [document or b""]
        check = self._probes.get(environ["PATH_INFO"])
        if check is None:
            page: Iterable[bytes] = self._metrics(environ, start)
            return page
        wrong = check()
        status = "200 OK" if wrong is None else "503 Service Unavailable"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{wrong or 'ok'}\n".encode()]
