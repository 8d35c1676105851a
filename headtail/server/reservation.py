"""Ports taken before gRPC is imported: whether one is free, and one held for processes to share."""

import socket

from headtail.config import parse_address
from headtail.errors import ConfigError


def check_free(host: str, port: int) -> None:
    """Raise where nobody could listen alone.

    Raises:
        OSError: If so.
    """
    socket.create_server((host, port), family=_family(host)).close()


class Reservation:
    """A port that is held, without listening, for processes of this user that share it.

    Of sockets with SO_REUSEPORT the kernel gives a connection to one of those that listen, by a
    hash of the addresses; one that does not listen gets none, but keeps strangers off.
    """

    def __init__(self, listen: str, where: str = "--listen") -> None:
        """Take HOST:PORT; port 0 takes a free one.

        Raises:
            ConfigError: If the address is none or is taken, or ports cannot be shared here.
        """
        host, port = parse_address(listen, where)
        if not hasattr(socket, "SO_REUSEPORT"):
            raise ConfigError("--workers", "this system shares no ports among processes")
        try:
            # Another server whose workers share theirs would share this one as well.
            check_free(host, port)
            self._socket = socket.socket(_family(host), socket.SOCK_STREAM)
            # The first lets connections of a server before this one linger.
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                self._socket.setsockopt(socket.SOL_SOCKET, option, 1)
            self._socket.bind((host, port))
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(where, f"cannot listen on {listen}: {reason}") from error
        bound = self._socket.getsockname()[1]
        self.address = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
        """HOST:PORT with the number that it got."""

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
