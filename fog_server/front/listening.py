"""Listening on HOST:PORT as gRPC would, on every address of the host, and accepting."""

import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from fog_server.front.deadlines import Deadlines
from fog_server.front.poller import READ, Poller
from headtail.config import parse_address
from headtail.errors import ConfigError

_BACKLOG = 4096  # gRPC's own; the system has a limit of its own
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - what is listened on is the user's choice
_ACCEPTS = 64  # a turn; what is open goes on in between
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_S = 1.0  # before connections are accepted again for which the system had no room
_Address = tuple[socket.AddressFamily, str]

Admit = Callable[[socket.socket, tuple[Any, ...]], None]
"""Takes an accepted socket and its peer's address."""

log = logging.getLogger(__name__)


def listen_on(
    listen: str, where: str, *, is_shared: bool = False
) -> tuple[list[socket.socket], str]:
    """Return the sockets, which do not block, and the address with the number it got.

    Args:
        listen: HOST:PORT; port 0 takes a free one. Either wildcard means both kinds of addresses.
        where: Names the flag.
        is_shared: Whether others may listen there too.

    Raises:
        ConfigError: If the address is none, or is taken.
    """
    host, port = parse_address(listen, where)
    try:
        first, *others = _addresses(host)
        sockets = [_open(first, port, is_shared=is_shared)]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(where, f"cannot listen on {listen}: {reason}") from error
    bound = sockets[0].getsockname()[1]
    for other in others:  # a name may have addresses that this machine does not
        with suppress(OSError):
            sockets.append(_open(other, bound, is_shared=is_shared))
    return sockets, f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"


def _addresses(host: str) -> list[_Address]:
    if host in _WILDCARDS:
        return [(socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, host)]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [*dict.fromkeys((family, str(address[0])) for family, *_, address in found)]


def _open(address: _Address, port: int, *, is_shared: bool) -> socket.socket:
    family, host = address
    is_dual = host == "::" and family is socket.AF_INET6 and socket.has_dualstack_ipv6()
    opened = socket.create_server(
        (host, port),
        family=family,
        backlog=_BACKLOG,
        reuse_port=is_shared,
        dualstack_ipv6=is_dual,
    )
    opened.setblocking(False)
    return opened


class Listeners:
    """Sockets that listen, of which each has its turns."""

    def __init__(self, sockets: list[socket.socket], poller: Poller, admit: Admit) -> None:
        """Prepare."""
        self._sockets = sockets
        self._poller = poller
        self._admit = admit
        self._pauses = Deadlines[socket.socket](_PAUSE_S, self._listen_again)
        poller.look_after(self._pauses)

    def begin(self) -> None:
        """Accept from now on."""
        for listener in self._sockets:
            self._listen(listener)

    def end(self) -> None:
        """Have the system refuse who comes; who is in its queue is accepted, not reset."""
        while self._sockets:
            listener = self._sockets.pop()
            if self._poller.is_running:
                self._accept(listener)
            self._pauses.end(listener)
            self._poller.drop(listener)

    def _listen(self, listener: socket.socket) -> None:
        self._poller.add(listener, READ, partial(self._accept, listener))

    def _listen_again(self, listener: socket.socket) -> None:
        try:
            self._listen(listener)
        except OSError:  # there is still no room
            self._pauses.begin(listener)

    def _accept(self, listener: socket.socket, _events: int = READ) -> None:
        for _ in range(_ACCEPTS):
            try:
                accepted, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # most often a client that is gone already
                if error.errno in _NO_ROOM:
                    log.warning("connections have to wait: %s", error.strerror)
                    self._poller.remove(listener)
                    self._pauses.begin(listener)
                    return
            else:
                self._admit(accepted, address)
