"""The command `optimizer logs`: the lines of a job's log."""

import argparse
import sys

from optimizer.serve.client import JobsClient
from optimizer.serve.connection import add_command, write_json

_EXAMPLES = """\
  optimizer logs ecg-demo-1f3a9c2e
  optimizer logs ecg-demo-1f3a9c2e --last 20
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `logs` to the program's commands."""
    text = "print the lines of a job's log that are kept"
    parser = add_command(commands, "logs", text, _EXAMPLES, _logs)
    parser.add_argument("job", metavar="JOB", help="id of the job")
    parser.add_argument("--last", type=int, default=0, metavar="N", help="only the last N lines")


def _logs(client: JobsClient, arguments: argparse.Namespace) -> int:
    for line in client.lines(arguments.job, max(0, arguments.last)):
        if arguments.json:
            write_json(line)
        else:
            sys.stdout.write(f"{line.text}\n")
    return 0
