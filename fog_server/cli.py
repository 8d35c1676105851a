"""The command line of the fog server."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from fog_server.config import Config
from headtail import log as logs
from headtail import telemetry
from headtail.config import read_toml
from headtail.errors import ConfigError, HeadtailError

log = logging.getLogger(__name__)

EPILOG = """\
examples:
  fog-server --bundles bundles --listen 0.0.0.0:8500 --metrics 127.0.0.1:9500
  fog-server --config deploy/fog/fog-server.toml --trust /etc/headtail/trust
  fog-server --bundles bundles --listen 127.0.0.1:0     # a free port, said in the log

A bundle NAME is served as the model NAME, and its tails as NAME-tailK-ENCODING, over the Open
Inference Protocol v2. SIGTERM drains: health says NOT_SERVING, windows in flight are answered.
"""
# Flag -> key of the configuration; a dotted key lies in that section.
FLAGS = {
    "bundles": "bundles",
    "listen": "listen",
    "metrics": "metrics",
    "trust": "trust",
    "log_level": "log_level",
    "providers": "inference.providers",
    "threads": "inference.threads",
    "max_running": "inference.max_running",
    "max_queued": "inference.max_queued",
    "max_batch": "inference.max_batch",
    "max_agents": "wire.max_agents",
    "drain_s": "wire.drain_s",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the fog server until SIGTERM or SIGINT; return the exit code."""
    try:
        config = read_config(make_parser().parse_args(argv))
        telemetry.disable()
        logs.configure(config.log_level)
        return serve(config)
    except HeadtailError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def serve(config: Config) -> int:
    """Serve until told to stop, then drain."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Imported here: --help and a wrong flag need neither gRPC nor onnxruntime.
    from fog_server.server import FogServer

    server = FogServer(config)
    stop.wait()
    server.drain()
    return 0


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
    add("--trust", metavar="DIR", help="folder of trusted public keys, *.pub (default: your own)")
    add("--providers", choices=["auto", "cpu", "cuda", "tensorrt"], help="what runs the tails")
    add("--threads", type=int, metavar="N", help="threads of one onnxruntime operator")
    add("--max-running", type=int, metavar="N", help="requests run at once (0: one per core)")
    add("--max-queued", type=int, metavar="N", help="requests that may wait for their turn")
    add("--max-batch", type=int, metavar="N", help="windows one request may hold")
    add("--max-agents", type=int, metavar="N", help="streams open at once")
    add("--drain-s", type=float, metavar="S", help="longest time to drain before exit")
    add("--log-level", choices=["debug", "info", "warning", "error"], help="least severity logged")
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
