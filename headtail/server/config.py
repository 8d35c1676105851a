"""The parts of a server's configuration that every server has."""

from typing import Annotated, Literal

import msgspec

from headtail import log as logs

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
LogLevel = Literal["debug", "info", "warning", "error"]


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `tls`: mutual TLS; all four files or none, and each is read again when it changes."""

    ca: str = ""
    """PEM certificates of the authorities whose clients are taken; several while one replaces
    another."""
    cert: str = ""
    """PEM certificate of this server."""
    key: str = ""
    """PEM private key of this server."""
    allow: str = ""
    """TOML file that says which identities may do what."""


class Connections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What section `wire` says of connections."""

    max_message_bytes: Positive = 4 << 20
    """Largest message received or sent."""
    keepalive_s: Positive = 30
    """How often a client may ping, and how often the server pings a silent one."""
    handshake_s: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    """Longest time from a connection to the end of its TLS and HTTP/2 handshake."""


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every server can be told; each adds its own."""

    listen: str = ""
    """HOST:PORT of the gRPC server; port 0 takes a free one."""
    insecure: bool = False
    """Whether plaintext may be served to other machines."""
    metrics: str = ""
    """HOST:PORT of the Prometheus page; empty means none."""
    log_level: LogLevel = "info"
    """Least severity that is logged."""
    log_format: logs.Format = "text"
    """Log lines for people (text) or machines (json: an object a line)."""
    tls: Tls = Tls()
