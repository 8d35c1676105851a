"""The flags of `fog-server captured` and `fog-server forget`."""

import argparse
from pathlib import Path

from fog_server.command_parser import make_command_parser

COMMANDS = ("captured", "forget")
EPILOG = """\
Both work on the folder itself, on the fog's machine, whether the fog runs or not. Name it with
--folder, or with --config FILE.toml or --bundles DIR as the server is told.

exit codes:
  0 done   1 failed   2 wrong flags   4 nothing there of that name
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of both commands."""
    parser, command = make_command_parser(EPILOG, _add_common)
    captured = command("captured", "list the inputs that are kept")
    captured.add_argument("name", nargs="?", default="", metavar="NAME", help="default: all")
    captured.add_argument("--windows", action="store_true", help="list each window with its id")
    forget = command("forget", "delete inputs that are kept")
    which = forget.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="of the model")
    which.add_argument("--all", action="store_true", help="of all models, and the folder's secret")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--folder", type=Path, metavar="DIR", help="of captured windows")
    where.add_argument("--config", type=Path, metavar="FILE.toml", help="of the server")
    where.add_argument("--bundles", metavar="DIR", help="of the server")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
