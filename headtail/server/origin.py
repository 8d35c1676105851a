"""Where relayed calls really come from: gRPC sees the relay's own end of the connection."""

import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

_LOOPBACK = "ipv4:127.0.0.1:"
_MAPPED = "::ffff:"  # IPv4 on a socket of both kinds: RFC 4291, 2.5.5.2
_KEPT = 1024
"""Ended connections that are still known: calls outlive them, and some are then logged."""


class Origins:
    """The peers of relayed connections by the local port of the relay's connection to gRPC.

    It grows with the relays, which are bounded where they are made.
    """

    def __init__(self) -> None:
        self._open: dict[int, str] = {}
        self._ended: dict[int, str] = {}
        self._lock = threading.Lock()

    def add(self, port: int, peer: str) -> None:
        """Remember the peer, in gRPC's notation, behind a connection from 127.0.0.1:`port`."""
        with self._lock:
            self._ended.pop(port, None)
            self._open[port] = peer

    def end(self, port: int) -> None:
        """Forget the peer, once a thousand more connections have ended."""
        with self._lock:
            peer = self._open.pop(port, None)
            if peer is None:
                return
            self._ended[port] = peer
            if len(self._ended) > _KEPT:
                del self._ended[next(iter(self._ended))]

    def of(self, peer: str) -> str:
        """Return the peer behind a relayed connection, and any other peer as it is."""
        host, port = peer[: len(_LOOPBACK)], peer[len(_LOOPBACK) :]
        if host != _LOOPBACK or not (port.isascii() and port.isdigit()):
            return peer
        number = int(port)
        return self._open.get(number) or self._ended.get(number) or peer


origins = Origins()
"""Those of this process: ports are the system's, whatever servers there are."""


def origin_of(peer: str) -> str:
    """Return who is behind `context.peer()`: for a relayed call whom the relay works for."""
    return origins.of(peer)


def peer_text(address: Sequence[Any]) -> str:
    """Return the address of an accepted TCP socket as gRPC's `context.peer()` writes it.

    Args:
        address: What `accept` returns: host and port first.
    """
    host, port = str(address[0]), address[1]
    if host.startswith(_MAPPED) and "." in host:
        host = host[len(_MAPPED) :]
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}" if ":" in host else f"ipv4:{host}:{port}"
