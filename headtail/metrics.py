"""Prometheus plumbing shared by the runtimes: buckets, registry and the page itself."""

from prometheus_client import CollectorRegistry, start_http_server

from headtail.config import parse_address
from headtail.errors import ConfigError

# From 50 us (a tiny head) to 10 s (a link that is nearly gone), in steps of about 2.
LATENCY_BUCKETS_S = (
    5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip


class MetricsPage:
    """A running HTTP server for one registry; `address` is where it listens."""

    def __init__(self, address: str, registry: CollectorRegistry) -> None:
        """Listen on HOST:PORT; port 0 takes a free one.

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
        self.address = f"{host}:{server.server_port}"
        self._thread = thread
        self._server = server

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
