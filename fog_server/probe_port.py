"""A port in plaintext that answers health checks and nothing else.

Kubernetes' gRPC probes and many load balancers speak neither TLS nor with a certificate of ours.
"""

from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health_pb2_grpc

from headtail.server.config import Connections
from headtail.server.health import Health
from headtail.server.port import bind, server_options

_THREADS = 2
_MOST_CALLS = 64
"""Calls at once; whoever watches instead of asking holds one."""


class ProbePort:
    """A running server for one health service; `address` is where it listens."""

    def __init__(
        self, listen: str, health: Health, wire: Connections, *, is_shared: bool = False
    ) -> None:
        """Listen on HOST:PORT; port 0 takes a free one.

        Args:
            listen: HOST:PORT.
            health: Answers, as on the port of the inference service.
            wire: Limits of connections.
            is_shared: Whether other workers listen there too.

        Raises:
            ConfigError: If the address is none, or is taken.
        """
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, "probe"),
            options=server_options(wire, is_shared=is_shared),
            maximum_concurrent_rpcs=_MOST_CALLS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        self.address = bind(self._server, listen, None, "--health", is_shared=is_shared)
        self._server.start()

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.stop(None).wait()
