"""The command `edge-agent`."""

import argparse
import faulthandler
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headtail import telemetry
from headtail.errors import HeadtailError
from headtail.log import Format, configure, report

if TYPE_CHECKING:
    from edge_agent.config import Config

DESCRIPTION = "Runs the head of a model on the edge and streams the activation to a fog server."
PROFILE = "profile"
EXAMPLES = """\
examples:
  Replay a record in real time, the tail in the fog, results to a file:
    edge-agent run --bundle mitbih-1.bundle --fog 127.0.0.1:8500 \\
      --source wfdb:mitdb/100 --sink jsonl:100.jsonl
  Your own windows as fast as possible, with a Prometheus page:
    edge-agent run --bundle mitbih-1.bundle --fog 127.0.0.1:8500 \\
      --source npz:windows.npz --sink jsonl:out.jsonl --metrics 127.0.0.1:9101
  The whole model here, no fog, a JSON array a line in and a JSON object a line out:
    edge-agent run --bundle mitbih-1.bundle --point 3 --source stdin --sink stdout < windows.jsonl
  Fetch the newest bundle of a name from the fog, and take the rest from a file:
    edge-agent run --model mitbih --config /etc/headtail/edge-agent.toml
  Measure this device with a file of `optimizer profile-kit`:
    edge-agent profile kit.zip --out device.toml --power-idle-w 2.7 --power-full-w 6.4

exit status: 0 when the source has ended (or SIGTERM came) and every result is written, 1 for an
error, 2 for wrong usage.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    parsed = build_parser(words).parse_args(words)
    arguments = vars(parsed)
    form: Format = arguments.get("log_format", "text")
    # Before NumPy is imported: its BLAS would reserve buffers and threads for every core, and the
    # agent multiplies no matrices with it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    telemetry.disable()
    try:
        if arguments.pop("command") == PROFILE:
            _profile(parsed)
            return 0
        config = _configure(arguments)
        form = config.log_format
        _run(config)
    except HeadtailError as error:
        report(error, form)
        return 1
    return 0


def _configure(arguments: dict[str, Any]) -> "Config":
    """Merge the flags into the file, and set the log up."""
    from edge_agent.config import read_config

    file = arguments.pop("config", None)
    config = read_config(Path(file) if file else None, arguments)
    configure(config.log_level, config.log_format)
    # A watchdog ends the program with SIGABRT: every thread's stack then goes to the log.
    if not faulthandler.is_enabled():
        faulthandler.enable()
    return config


def _run(config: "Config") -> None:
    """Run; what is heavy is imported here."""
    if config.tls_cert:
        from headtail.tls import require_tls13

        require_tls13()
    from edge_agent.run import run
    from headtail.systemd import notifier

    run(config, notifier(os.environ, os.getpid()))


def _profile(arguments: argparse.Namespace) -> None:
    """Profile this device; what is heavy is imported here."""
    configure("warning", "text")
    from edge_agent.profile_command import run

    run(arguments)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: 20 ms of imports."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"{parser.prog} {version('headtail')}\n")
        parser.exit()


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser; each flag of `run` is a key of the configuration, with dashes.

    `words` are those of the command line: the flags of `profile` are added where it comes first.
    """
    parser = argparse.ArgumentParser(
        prog="edge-agent",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        help="show the program's version and exit",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run a bundle over a source",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    _add_what(run)
    _add_where(run)
    _add_how(run)
    _add_spool(run)
    profile = commands.add_parser(PROFILE, help="measure a device profile of this machine")
    if words[:1] == [PROFILE]:
        from edge_agent.profile_command import add_arguments

        add_arguments(profile)
    return parser


def _add_what(run: argparse.ArgumentParser) -> None:
    """Add the flags that say what runs."""
    group = run.add_argument_group("what runs")
    which = group.add_mutually_exclusive_group()
    which.add_argument("--bundle", metavar="FILE", help="bundle file to run")
    which.add_argument("--model", metavar="NAME", help="bundle to fetch from the fog")
    group.add_argument("--model-version", metavar="V", help="version to fetch; default: the newest")
    group.add_argument(
        "--point", metavar="auto|K", help="segments that run here; default: the bundle's"
    )
    group.add_argument(
        "--encoding", metavar="auto|NAME", help="float32, float16 or int8; default: the bundle's"
    )
    group.add_argument("--key", metavar="FILE", help="key file to trust, beside those of --trust")
    group.add_argument(
        "--trust", metavar="DIR", help="folder of trusted public keys; default: this user's"
    )
    group.add_argument("--device-profile", metavar="NAME", help="prices computing")
    group.add_argument("--link-profile", metavar="NAME", help="prices sending")
    group.add_argument("--threads", type=int, metavar="N", help="onnxruntime threads; default: 1")
    group.add_argument("--state", metavar="DIR", help="folder of fetched bundles")


def _add_where(run: argparse.ArgumentParser) -> None:
    """Add the flags that say where windows come from and where results go."""
    group = run.add_argument_group("where from and to")
    group.add_argument(
        "--source", metavar="KIND:PATH", help="wfdb:RECORD, npz:FILE, images:DIR or stdin"
    )
    group.add_argument(
        "--sink", metavar="KIND:PATH", help="jsonl:FILE, sqlite:FILE or stdout (default)"
    )
    group.add_argument(
        "--existing",
        choices=("refuse", "append", "overwrite"),
        help="what to do with a sink's file that exists; default: refuse",
    )
    group.add_argument(
        "--fog", action="append", metavar="HOST:PORT", help="a fog server; repeat, best first"
    )
    group.add_argument("--tls-ca", metavar="FILE", help="authorities that fogs are trusted by")
    group.add_argument("--tls-cert", metavar="FILE", help="certificate of this agent")
    group.add_argument("--tls-key", metavar="FILE", help="private key of this agent")
    group.add_argument(
        "--insecure", action="store_true", help="allow plaintext to a fog on another machine"
    )
    group.add_argument("--metrics", metavar="HOST:PORT", help="serve a Prometheus page")
    group.add_argument("--agent", metavar="NAME", help="name to the fog; default: the host's")


def _add_how(run: argparse.ArgumentParser) -> None:
    """Add the flags that say how it runs."""
    group = run.add_argument_group("how")
    group.add_argument("--config", metavar="FILE", help="TOML with the same keys; flags win")
    group.add_argument(
        "--speed", metavar="N|max", help="pace of a record; 1 (default) is real time"
    )
    group.add_argument("--batch", type=int, metavar="N", help="windows of a message at most")
    group.add_argument("--in-flight", type=int, metavar="N", help="messages under way at most")
    group.add_argument(
        "--deadline-s", type=float, metavar="S", help="until the edge finishes a window itself"
    )
    group.add_argument(
        "--connect-s", type=float, metavar="S", help="longest attempt to reach the fog"
    )
    group.add_argument(
        "--reconnect-first-s", type=float, metavar="S", help="largest first delay between attempts"
    )
    group.add_argument(
        "--reconnect-cap-s", type=float, metavar="S", help="largest delay between attempts"
    )
    group.add_argument(
        "--max-misses", type=int, metavar="N", help="unanswered windows until a fog counts as away"
    )
    group.add_argument(
        "--dwell-s", type=float, metavar="S", help="shortest stay before going back to a better fog"
    )
    group.add_argument(
        "--keepalive-s", type=float, metavar="S", help="silence after which a fog is pinged"
    )
    group.add_argument("--view", choices=("auto", "off"), help="the live view on a terminal")
    group.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="default: info"
    )
    group.add_argument(
        "--log-format", choices=("text", "json"), help="lines for people (default) or machines"
    )


def _add_spool(run: argparse.ArgumentParser) -> None:
    """Add the flags that say what survives a crash."""
    group = run.add_argument_group("what survives a crash")
    group.add_argument(
        "--spool", metavar="FILE|off", help="keeps windows; default: beside a sink's file"
    )
    group.add_argument(
        "--spool-sync", choices=("full", "normal", "off"), help="full (default): power loss too"
    )
    group.add_argument("--spool-windows", type=int, metavar="N", help="of one commit at most")
    group.add_argument("--spool-delay-s", type=float, metavar="S", help="longest wait for a commit")
    group.add_argument("--spool-max-bytes", type=int, metavar="N", help="of windows kept")
    group.add_argument("--spool-max-age-s", type=float, metavar="S", help="of windows kept")
    group.add_argument(
        "--spool-when-full", choices=("stop", "drop"), help="the source, or the oldest windows"
    )
