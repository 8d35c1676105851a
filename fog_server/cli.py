"""The command line of the fog server."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from fog_server.capture.command_line import COMMANDS as CAPTURE_COMMANDS
from fog_server.config import Config
from fog_server.rollout.command_line import COMMANDS
from headtail import telemetry
from headtail.errors import ConfigError
from headtail.liveness import Check
from headtail.server import command as server_command

if TYPE_CHECKING:
    from fog_server.server import FogServer

EPILOG = """\
examples:
  fog-server --bundles bundles --listen 127.0.0.1:8500 --metrics 127.0.0.1:9500
  fog-server --config deploy/fog/fog-server.toml --trust /etc/headtail/trust   # mutual TLS
  fog-server --bundles bundles --listen 127.0.0.1:0     # a free port, said in the log

  fog-server --bundles bundles --rollout                 # then, from anywhere, with --fog:
  fog-server publish ecg-2.0.bundle                      # checked and tested: a candidate
  fog-server canary ecg --share 10% --bake 5m --wait 1h  # judged: promoted or rolled back
  fog-server bundles | promote | rollback | share | retire; each has --help

  fog-server --bundles bundles --capture                 # keeps a sample of inputs; then, here:
  fog-server captured --bundles bundles                  # what is kept
  fog-server forget --all --bundles bundles              # and it is gone

A bundle NAME is served as the model NAME, and its tails as NAME-tailK-ENCODING, over the Open
Inference Protocol v2. SIGTERM drains: health says NOT_SERVING, windows in flight are answered.
"""
# Flag -> key of the configuration; a dotted key lies in that section.
FLAGS = {
    "workers": "workers",
    "bundles": "bundles",
    "listen": "listen",
    "metrics": "metrics",
    "health": "health",
    "trust": "trust",
    "allow_older": "allow_older",
    "rollout": "rollout.enabled",
    "capture": "capture.enabled",
    "providers": "inference.providers",
    "threads": "inference.threads",
    "max_running": "inference.max_running",
    "max_queued": "inference.max_queued",
    "max_batch": "inference.max_batch",
    "max_agents": "wire.max_agents",
    "drain_s": "wire.drain_s",
    **server_command.FLAGS,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the fog server until SIGTERM or SIGINT, or a command; return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        from fog_server.rollout.commands import main as command

        return command(words)
    if words and words[0] in CAPTURE_COMMANDS:
        from fog_server.capture.commands import main as command

        return command(words)
    telemetry.disable()
    return server_command.run(make_parser().parse_args(argv), read_config, serve)


def serve(config: Config) -> None:
    """Serve until told to stop, then drain."""
    if config.workers > 1:
        from fog_server.workers.supervisor import Supervisor

        server_command.serve(
            lambda watchdog_s, check: Supervisor(config, watchdog_s, [check]),
            lambda supervisor: supervisor.drain(),
        )
        return

    def make(watchdog_s: float | None, check: Check) -> "FogServer":
        # Imported here: --help and a wrong flag need neither gRPC nor onnxruntime.
        from fog_server.server import FogServer

        return FogServer(config, watchdog_s, [check])

    server_command.serve(make, lambda server: server.drain())


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; a flag that is absent is None."""
    parser = argparse.ArgumentParser(
        prog="fog-server",
        description="Serve the tails of bundles over gRPC.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {version('headtail')}")
    add("--config", type=Path, metavar="FILE.toml", help="the same settings as a file; flags win")
    add("--workers", type=int, metavar="N", help="processes that serve on the port (default: 1)")
    add("--bundles", metavar="DIR", help="folder whose every *.bundle is served")
    add("--listen", metavar="HOST:PORT", help=f"gRPC address (default {Config().listen})")
    add("--metrics", metavar="HOST:PORT", help="address of the Prometheus page (default: none)")
    add("--health", metavar="HOST:PORT", help="plaintext port for gRPC health checks alone")
    add("--trust", metavar="DIR", help="folder of trusted public keys, *.pub (default: your own)")
    add("--providers", choices=["auto", "cpu", "cuda", "tensorrt"], help="what runs the tails")
    add("--threads", type=int, metavar="N", help="threads of one onnxruntime operator")
    add("--max-running", type=int, metavar="N", help="requests run at once (0: one per core)")
    add("--max-queued", type=int, metavar="N", help="requests that may wait for their turn")
    add("--max-batch", type=int, metavar="N", help="windows one request may hold")
    add("--max-agents", type=int, metavar="N", help="streams open at once")
    add("--drain-s", type=float, metavar="S", help="longest time to drain before exit")
    add(
        "--allow-older",
        action=argparse.BooleanOptionalAction,
        help="serve bundles older than were served before: a roll-back by hand",
    )
    add(
        "--rollout",
        action=argparse.BooleanOptionalAction,
        help="let operators publish bundles, try them on some agents, promote and roll back",
    )
    add(
        "--capture",
        action=argparse.BooleanOptionalAction,
        help="keep a sample of the models' inputs on the disk; see docs/capture.md",
    )
    server_command.add_flags(parser)
    return parser


def read_config(flags: argparse.Namespace) -> Config:
    """Return the configuration: the file's, with the flags on top.

    Raises:
        ConfigError: If the file is wrong, a flag breaks a key's rule, or no bundles are named.
    """
    config = server_command.read_settings(flags, FLAGS, Config)
    if not config.bundles:
        raise ConfigError("bundles", "name the folder of bundles with --bundles DIR")
    return config


if __name__ == "__main__":
    sys.exit(main())
