"""The command line of the fog server."""

import argparse
import faulthandler
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from fog_server.config import Config
from fog_server.rollout.command_line import COMMANDS
from headtail import log as logs
from headtail import telemetry
from headtail.config import read_toml
from headtail.errors import ConfigError, HeadtailError
from headtail.liveness import Heartbeat, Threads
from headtail.server.signals import Signals
from headtail.systemd import notifier
from headtail.tls import require_tls13

EPILOG = """\
examples:
  fog-server --bundles bundles --listen 127.0.0.1:8500 --metrics 127.0.0.1:9500
  fog-server --config deploy/fog/fog-server.toml --trust /etc/headtail/trust   # mutual TLS
  fog-server --bundles bundles --listen 127.0.0.1:0     # a free port, said in the log

  fog-server --bundles bundles --rollout                 # then, from anywhere, with --fog:
  fog-server publish ecg-2.0.bundle                      # checked and tested: a candidate
  fog-server canary ecg --share 10% --bake 5m --wait 1h  # judged: promoted or rolled back
  fog-server bundles | promote | rollback | share | retire; each has --help

A bundle NAME is served as the model NAME, and its tails as NAME-tailK-ENCODING, over the Open
Inference Protocol v2. SIGTERM drains: health says NOT_SERVING, windows in flight are answered.
"""
# Flag -> key of the configuration; a dotted key lies in that section.
FLAGS = {
    "bundles": "bundles",
    "listen": "listen",
    "metrics": "metrics",
    "health": "health",
    "trust": "trust",
    "allow_older": "allow_older",
    "rollout": "rollout.enabled",
    "log_level": "log_level",
    "log_format": "log_format",
    "providers": "inference.providers",
    "threads": "inference.threads",
    "max_running": "inference.max_running",
    "max_queued": "inference.max_queued",
    "max_batch": "inference.max_batch",
    "max_agents": "wire.max_agents",
    "drain_s": "wire.drain_s",
    "insecure": "insecure",
    "tls_ca": "tls.ca",
    "tls_cert": "tls.cert",
    "tls_key": "tls.key",
    "tls_allow": "tls.allow",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the fog server until SIGTERM or SIGINT, or a command; return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        from fog_server.rollout.commands import main as command

        return command(words)
    flags = make_parser().parse_args(argv)
    form: logs.Format = flags.log_format or "text"
    try:
        config = read_config(flags)
        form = config.log_format
        telemetry.disable()
        logs.configure(config.log_level, form)
        # A watchdog ends the program with SIGABRT: every thread's stack then goes to the log.
        if not faulthandler.is_enabled():
            faulthandler.enable()
        serve(config)
    except HeadtailError as error:
        logs.report(error, form)
        return 1
    return 0


def serve(config: Config) -> None:
    """Serve until told to stop, then drain."""
    signals, threads = Signals(), Threads()
    manager = notifier(os.environ, os.getpid())
    with signals.handled(), threads.watched():
        require_tls13()
        # Imported here: --help and a wrong flag need neither gRPC nor onnxruntime.
        from fog_server.server import FogServer

        server = FogServer(config, manager.watchdog_s, [threads.check])
        manager.ready(server.status())
        with Heartbeat(manager, server.check_live, server.status):
            signals.wait()
            manager.stopping()
            server.drain()


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
    return parser


def read_config(flags: argparse.Namespace) -> Config:
    """Return the configuration: the file's, with the flags on top.

    Raises:
        ConfigError: If the file is wrong, a flag breaks a key's rule, or no bundles are named.
    """
    config = read_toml(flags.config, Config) if flags.config else Config()
    tree: dict[str, Any] = msgspec.to_builtins(config)
    for flag, key in FLAGS.items():
        value = getattr(flags, flag)
        if value is not None:
            section, _, field = key.rpartition(".")
            (tree[section] if section else tree)[field] = value
    try:
        config = msgspec.convert(tree, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigError("flags", str(error)) from error
    if not config.bundles:
        raise ConfigError("bundles", "name the folder of bundles with --bundles DIR")
    return config


if __name__ == "__main__":
    sys.exit(main())
