"""The program `optimizer`: its commands, each of which knows its own flags."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version

from headtail import log, telemetry
from headtail.errors import HeadtailError

# Modules with `add_parser(commands)`. Only the one that is asked for is imported: some bring onnx.
COMMANDS = {
    "run": "optimizer.run_command",
    "split": "optimizer.split_command",
    "rivals": "optimizer.rivals_command",
    "inspect": "optimizer.inspect_command",
    "export-triton": "optimizer.export_triton_command",
    "data": "optimizer.data_command",
    "profiles": "optimizer.profiles_command",
    "profile-kit": "optimizer.profile_kit_command",
    "profile": "optimizer.profile_command",
    "learn": "optimizer.learn_command",
    "serve": "optimizer.serve.serve_command",
    "submit": "optimizer.serve.submit_command",
    "jobs": "optimizer.serve.jobs_command",
    "watch": "optimizer.serve.watch_command",
    "cancel": "optimizer.serve.cancel_command",
    "logs": "optimizer.serve.logs_command",
    "fetch": "optimizer.serve.fetch_command",
}
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_EPILOG = """\
examples:
  optimizer run recipes/demo.toml --out runs/first
  optimizer split resnet50.onnx --out resnet50.bundle
  optimizer inspect runs/first/ecg-demo-2.bundle
  optimizer export-triton runs/first/ecg-demo-2.bundle --out repository
  optimizer data fetch mitbih --to data
  optimizer learn --prometheus http://127.0.0.1:9090 --model ecg-demo \\
    --device-profile raspberry-pi-5 --link-profile ethernet
  optimizer serve --state jobs &
  optimizer submit recipes/demo.toml --watch
`optimizer COMMAND --help` tells more about each.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code: 1 for what the user can mend, 130 for Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    log.configure("warning")
    telemetry.disable()
    try:
        arguments = _parser(words).parse_args(words)
        code: int = arguments.handler(arguments)
    except HeadtailError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("optimizer", "headtail"):
            raise
        sys.stderr.write(f"error: {error.name} is missing: pip install 'headtail[optimizer]'\n")
        return 1
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="optimizer",
        description="Turn data and a recipe, or a finished model, into a signed bundle: a network"
        " cut where head on the edge and tail in the fog cost least.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"optimizer {version('headtail')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asked = words[0] if words and words[0] in COMMANDS else None
    for name in [asked] if asked else COMMANDS:
        importlib.import_module(COMMANDS[name]).add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
