"""The command `edge-agent`."""

import argparse
import faulthandler
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.flags import add_run_flags
from headtail import telemetry
from headtail.errors import HeadtailError
from headtail.grpc_polling import poll_in_place
from headtail.log import Format, configure, report

if TYPE_CHECKING:
    from edge_agent.config import Config

DESCRIPTION = "Runs the head of a model on the edge and streams the activation to a fog server."
PROFILE, EXPLAIN = "profile", "explain"
SIDE_COMMANDS = {
    PROFILE: "edge_agent.profile_command",
    EXPLAIN: "edge_agent.partition.explain_command",
}
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
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
  What would be chosen on a link, and what a running agent chooses from:
    edge-agent explain --bundle mitbih-1.bundle --uplink 200kbit/s --round-trip 40ms
    edge-agent explain http://127.0.0.1:9101

exit status: 0 when the source has ended (or SIGTERM came) and every result is written, 1 for an
error, 2 for wrong usage, 130 for Ctrl-C with nothing to be written.
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
        command = arguments.pop("command")
        if command in SIDE_COMMANDS:
            _run_aside(command, parsed)
            return 0
        config = _configure(arguments)
        form = config.log_format
        _run(config)
    except HeadtailError as error:
        report(error, form)
        return 1
    except KeyboardInterrupt:  # a run that has begun ends with 0
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
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
    poll_in_place()
    from edge_agent.run import run
    from headtail.systemd import notifier

    run(config, notifier(os.environ, os.getpid()))


def _run_aside(command: str, arguments: argparse.Namespace) -> None:
    """Carry out a command that is no run; what is heavy is imported here."""
    configure("warning", "text")
    import_module(SIDE_COMMANDS[command]).run(arguments)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: 20 ms of imports."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"{parser.prog} {version('headtail')}\n")
        parser.exit()


def build_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser; each flag of `run` is a key of the configuration, with dashes.

    `words` are those of the command line: the flags of `profile` and `explain` are added where
    these come first.
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
    add_run_flags(run)
    for command, text in (
        (PROFILE, "measure a device profile of this machine"),
        (EXPLAIN, "print what a plan is chosen from"),
    ):
        side = commands.add_parser(command, help=text)
        if words[:1] == [command]:
            import_module(SIDE_COMMANDS[command]).add_arguments(side)
    return parser
