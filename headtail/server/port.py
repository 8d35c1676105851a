"""The gRPC port: the options of the server behind it, and how it is opened."""

import grpc

from headtail.config import parse_address
from headtail.errors import ConfigError
from headtail.server.config import Connections
from headtail.server.reservation import check_free

_LOOKAHEAD_BYTES = 1 << 20
_PING_TIMEOUT_MS = 20_000  # grpcio 1.85 waits a minute unless both of its options say so


def server_options(wire: Connections, *, is_shared: bool = False) -> list[tuple[str, int]]:
    """Return the options of the gRPC server; `is_shared` lets others listen on its port too."""
    return [
        # Two servers that know nothing of each other would share a port's connections at random.
        ("grpc.so_reuseport", int(is_shared)),
        # What an agent may have sent ahead, per stream. gRPC's own guess grows with the speed of
        # the link to tens of megabytes, which under overload is all of it memory; a mebibyte a
        # round trip is 20 MB/s at 50 ms.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
        ("grpc.max_receive_message_length", wire.max_message_bytes),
        ("grpc.max_send_message_length", wire.max_message_bytes),
        # By gRPC's default whoever connects and says nothing stays for two minutes.
        ("grpc.server_handshake_timeout_ms", round(wire.handshake_s * 1e3)),
        ("grpc.keepalive_time_ms", wire.keepalive_s * 1000),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # The default refuses clients that ping more often than every 300 s. A second's grace.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", wire.keepalive_s * 1000 - 1000),
    ]


def bind(
    server: grpc.Server,
    listen: str,
    credentials: grpc.ServerCredentials | None,
    where: str = "--listen",
    *,
    is_shared: bool = False,
) -> str:
    """Open the port and return its address with the number it got.

    Args:
        server: Not started yet.
        listen: HOST:PORT.
        credentials: Of TLS; None is plaintext.
        where: Names the flag.
        is_shared: Whether others may listen there: then whether it is free is not looked at.

    Raises:
        ConfigError: If the address is none, or is taken.
    """
    host, port = parse_address(listen, where)
    try:
        # gRPC says why it cannot listen only in a log line of its own; the system says it here.
        if not is_shared:
            check_free(host, port)
        if credentials is None:
            bound = server.add_insecure_port(listen)
        else:
            bound = server.add_secure_port(listen, credentials)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(where, f"cannot listen on {listen}: {reason}") from error
    except RuntimeError as error:
        raise ConfigError(where, f"cannot listen on {listen}") from error
    return f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
