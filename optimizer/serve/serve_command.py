"""The command `optimizer serve`: the job service."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headtail.liveness import Check
from headtail.server import command as server_command
from optimizer.serve.config import Config

if TYPE_CHECKING:
    from optimizer.serve.server import JobService

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
    "prometheus": "field.prometheus",
    "cpus": "capacity.cpus",
    "gpus": "capacity.gpus",
    **server_command.FLAGS,
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
    add(
        "--prometheus",
        action="append",
        metavar="URL",
        help="recipes may have this Prometheus asked; may be repeated (default: none)",
    )
    add("--cpus", type=int, metavar="N", help="cores of all jobs together (default: all)")
    add("--gpus", type=int, metavar="N", help="GPUs of all jobs together (default 0)")
    server_command.add_flags(parser)
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    return server_command.run(arguments, read_config, _serve)


def read_config(arguments: argparse.Namespace) -> Config:
    """Return the configuration: the file's, with the flags on top.

    Raises:
        ConfigError: If the file is wrong or a flag breaks a key's rule.
    """
    return server_command.read_settings(arguments, FLAGS, Config)


def _serve(config: Config) -> None:
    def make(_: float | None, check: Check) -> "JobService":
        # Imported here: --help and a wrong flag need no gRPC.
        from optimizer.serve.server import JobService

        return JobService(config, [check])

    server_command.serve(make, lambda service: service.close())
