"""The command that starts a server: flags that mirror configuration keys, and a serving loop."""

import argparse
import faulthandler
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from headtail import log as logs
from headtail.config import read_toml
from headtail.errors import ConfigError, HeadtailError
from headtail.grpc_polling import poll_in_place
from headtail.heap import keep_for_good
from headtail.liveness import Check, Heartbeat, Threads
from headtail.server.config import ServerConfig
from headtail.server.signals import Signals
from headtail.systemd import notifier
from headtail.tls import require_tls13

FLAGS: Mapping[str, str] = {
    "insecure": "insecure",
    "tls_ca": "tls.ca",
    "tls_cert": "tls.cert",
    "tls_key": "tls.key",
    "tls_allow": "tls.allow",
    "log_level": "log_level",
    "log_format": "log_format",
}
"""What `add_flags` adds: flag -> key of the configuration; a dotted key lies in that section."""


class Server(Protocol):
    """A server that serves."""

    def check_live(self) -> str | None:
        """Return what is wrong with it, or None."""

    def status(self) -> str:
        """Return how things stand, in a few words."""


C = TypeVar("C", bound=ServerConfig)
S = TypeVar("S", bound=Server)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of TLS and of the log; one that is absent is None."""
    add = parser.add_argument
    add("--tls-ca", metavar="FILE", help="PEM certificates of the authorities clients must have")
    add("--tls-cert", metavar="FILE", help="PEM certificate of this server")
    add("--tls-key", metavar="FILE", help="PEM private key of this server")
    add("--tls-allow", metavar="FILE", help="TOML that says which identities may do what")
    add(
        "--insecure",
        action=argparse.BooleanOptionalAction,
        help="allow plaintext to other machines, and anybody in",
    )
    add("--log-level", choices=["debug", "info", "warning", "error"], help="least severity logged")
    add("--log-format", choices=["text", "json"], help="lines for people or machines")


def read_settings(flags: argparse.Namespace, keys: Mapping[str, str], kind: type[C]) -> C:
    """Return the configuration: that of the file `--config`, with the flags on top.

    Args:
        flags: As parsed.
        keys: Flag -> key, as in `FLAGS`.
        kind: What the configuration is.

    Raises:
        ConfigError: If the file is wrong or a flag breaks a key's rule.
    """
    config = read_toml(flags.config, kind) if flags.config else kind()
    tree: dict[str, Any] = msgspec.to_builtins(config)
    for flag, key in keys.items():
        value = getattr(flags, flag)
        if value is not None:
            section, _, field = key.rpartition(".")
            (tree[section] if section else tree)[field] = value
    try:
        return msgspec.convert(tree, type=kind)
    except msgspec.ValidationError as error:
        raise ConfigError("flags", str(error)) from error


def run(
    flags: argparse.Namespace,
    read: Callable[[argparse.Namespace], C],
    work: Callable[[C], None],
) -> int:
    """Read the configuration, set the log up, and work; return the exit code."""
    form: logs.Format = flags.log_format or "text"
    try:
        config = read(flags)
        form = config.log_format
        logs.configure(config.log_level, form)
        # A watchdog ends the program with SIGABRT: every thread's stack then goes to the log.
        if not faulthandler.is_enabled():
            faulthandler.enable()
        work(config)
    except HeadtailError as error:
        logs.report(error, form)
        return 1
    return 0


def serve(make: Callable[[float | None, Check], S], end: Callable[[S], object]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        make: Starts the server, given the interval of the service manager's watchdog, if there is
            one, and a check that every thread lives. It is called when gRPC may be imported.
        end: Stops it.
    """
    signals, threads = Signals(), Threads()
    manager = notifier(os.environ, os.getpid())
    with signals.handled(), threads.watched():
        require_tls13()
        poll_in_place()
        server = make(manager.watchdog_s, threads.check)
        keep_for_good()
        manager.ready(server.status())
        with Heartbeat(manager, server.check_live, server.status):
            signals.wait()
            manager.stopping()
            end(server)
