"""The command `optimizer jobs`: the jobs that the service keeps."""

import argparse
import sys

from optimizer.serve.client import JobsClient
from optimizer.serve.connection import add_command, write_json
from optimizer.serve.job import State
from optimizer.serve.job_text import table

_EXAMPLES = """\
  optimizer jobs
  optimizer jobs --state running --state queued
  optimizer jobs ecg-demo-1f3a9c2e --json
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `jobs` to the program's commands."""
    parser = add_command(
        commands, "jobs", "list the jobs of the service, newest first", _EXAMPLES, _list
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help="id of one job, to show it alone")
    parser.add_argument(
        "--state",
        type=State,
        choices=list(State),
        action="append",
        default=[],
        help="only jobs in this state; may be repeated",
    )
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="most jobs shown")


def _list(client: JobsClient, arguments: argparse.Namespace) -> int:
    if arguments.job:
        jobs = [client.job(arguments.job)]
    else:
        jobs = client.jobs(arguments.state, max(0, arguments.limit))
    if arguments.json:
        write_json(jobs[0] if arguments.job else jobs)
    else:
        sys.stdout.write(table(jobs))
    return 0
