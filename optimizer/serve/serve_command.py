"""The command `optimizer serve`: the job service."""

import argparse
import faulthandler
import os
from pathlib import Path
from typing import Any

import msgspec

from headtail import log as logs
from headtail.config import read_toml
from headtail.errors import ConfigError, HeadtailError
from headtail.liveness import Heartbeat, Threads
from headtail.server.signals import Signals
from headtail.systemd import notifier
from headtail.tls import require_tls13
from optimizer.serve.config import Config

_EPILOG = """\
examples:
  optimizer serve --state jobs --listen 127.0.0.1:8600 --metrics 127.0.0.1:9600
  optimizer serve --config deploy/optimizer/optimizer.toml      # mutual TLS
  optimizer serve --state jobs --paths /srv/data --cpus 4       # recipes may name files there

Each job is an `optimizer run` of its own, on cores of its own. SIGTERM ends the jobs that run; they
go on when the service is there again. After a crash of the service they never stopped.
"""
# Flag -> key of the configuration; a dotted key lies in that section.
FLAGS = {
    "state": "state",
    "listen": "listen",
    "metrics": "metrics",
    "key": "key",
    "paths": "paths",
    "ray": "ray",
    "cpus": "capacity.cpus",
    "gpus": "capacity.gpus",
    "insecure": "insecure",
    "tls_ca": "tls.ca",
    "tls_cert": "tls.cert",
    "tls_key": "tls.key",
    "tls_allow": "tls.allow",
    "log_level": "log_level",
    "log_format": "log_format",
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `serve` to the program's commands."""
    parser = commands.add_parser(
        "serve",
        help="run recipes for others: the job service",
        description="Queue recipes that come over gRPC, run them, and keep what they make.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE.toml", help="the same settings as a file; flags win")
    add("--state", metavar="DIR", help="folder of the jobs: their database and their files")
    add("--listen", metavar="HOST:PORT", help=f"gRPC address (default {Config().listen})")
    add("--metrics", metavar="HOST:PORT", help="address of the Prometheus page (default: none)")
    add("--key", metavar="FILE", help="private key that signs bundles (default: development key)")
    add(
        "--paths",
        action="append",
        metavar="DIR",
        help="recipes may name files below this folder; may be repeated (default: none)",
    )
    add(
        "--ray",
        action="append",
        metavar="HOST:PORT",
        help="recipes may name this Ray cluster; may be repeated (default: none)",
    )
    add("--cpus", type=int, metavar="N", help="cores of all jobs together (default: all)")
    add("--gpus", type=int, metavar="N", help="GPUs of all jobs together (default 0)")
    add("--tls-ca", metavar="FILE", help="PEM certificates of the authorities clients must have")
    add("--tls-cert", metavar="FILE", help="PEM certificate of this service")
    add("--tls-key", metavar="FILE", help="PEM private key of this service")
    add("--tls-allow", metavar="FILE", help="TOML that says which identities may do what")
    add(
        "--insecure",
        action=argparse.BooleanOptionalAction,
        help="allow plaintext to other machines, and anybody in",
    )
    add("--log-level", choices=["debug", "info", "warning", "error"], help="least severity logged")
    add("--log-format", choices=["text", "json"], help="lines for people or machines")
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    form: logs.Format = arguments.log_format or "text"
    try:
        config = read_config(arguments)
        form = config.log_format
        logs.configure(config.log_level, form)
        # A watchdog ends the program with SIGABRT: every thread's stack then goes to the log.
        if not faulthandler.is_enabled():
            faulthandler.enable()
        _serve(config)
    except HeadtailError as error:
        logs.report(error, form)
        return 1
    return 0


def read_config(arguments: argparse.Namespace) -> Config:
    """Return the configuration: the file's, with the flags on top.

    Raises:
        ConfigError: If the file is wrong or a flag breaks a key's rule.
    """
    config = read_toml(arguments.config, Config) if arguments.config else Config()
    tree: dict[str, Any] = msgspec.to_builtins(config)
    for flag, key in FLAGS.items():
        value = getattr(arguments, flag)
        if value is not None:
            section, _, field = key.rpartition(".")
            (tree[section] if section else tree)[field] = value
    try:
        return msgspec.convert(tree, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigError("flags", str(error)) from error


def _serve(config: Config) -> None:
    signals, threads = Signals(), Threads()
    manager = notifier(os.environ, os.getpid())
    with signals.handled(), threads.watched():
        require_tls13()
        # Imported here: --help and a wrong flag need no gRPC.
        from optimizer.serve.server import JobService

        service = JobService(config, [threads.check])
        manager.ready(service.status())
        with Heartbeat(manager, service.check_live, service.status):
            signals.wait()
            manager.stopping()
            service.close()
