"""The command `optimizer fetch`: what a job has made."""

import argparse
import sys
from pathlib import Path

from optimizer.serve.client import JobsClient
from optimizer.serve.connection import add_command, write_json
from optimizer.serve.messages import FILES

_EXAMPLES = """\
  optimizer fetch ecg-demo-1f3a9c2e --to out             # bundle and report.json
  optimizer fetch ecg-demo-1f3a9c2e --to out --file report.html
"""
USUAL = ("bundle", "report.json")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `fetch` to the program's commands."""
    text = "download what a job has made and print where it lies"
    parser = add_command(commands, "fetch", text, _EXAMPLES, _fetch)
    parser.add_argument("job", metavar="JOB", help="id of the job")
    parser.add_argument("--to", type=Path, metavar="DIR", required=True, help="where to put it")
    parser.add_argument(
        "--file",
        choices=FILES,
        action="append",
        default=[],
        help=f"what to fetch; may be repeated (default: {' and '.join(USUAL)})",
    )


def _fetch(client: JobsClient, arguments: argparse.Namespace) -> int:
    names = arguments.file or USUAL
    paths = {name: str(client.fetch(arguments.job, name, arguments.to)) for name in names}
    if arguments.json:
        write_json(paths)
    else:
        sys.stdout.write("".join(f"{path}\n" for path in paths.values()))
    return 0
