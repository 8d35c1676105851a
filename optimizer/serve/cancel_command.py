"""The command `optimizer cancel`: ask a job to end."""

import argparse
import sys

from optimizer.serve.client import JobsClient
from optimizer.serve.connection import add_command, write_json
from optimizer.serve.job_text import summary

_EXAMPLES = "  optimizer cancel ecg-demo-1f3a9c2e\n"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `cancel` to the program's commands."""
    text = "ask a job to end; one that is over stays what it is"
    parser = add_command(commands, "cancel", text, _EXAMPLES, _cancel)
    parser.add_argument("job", metavar="JOB", help="id of the job")
    parser.add_argument("--wait", action="store_true", help="until it is over")


def _cancel(client: JobsClient, arguments: argparse.Namespace) -> int:
    job = client.cancel(arguments.job)
    if arguments.wait:
        for found, _ in client.watch(job.id, job.lines):
            job = found
    if arguments.json:
        write_json(job)
    else:
        sys.stdout.write(f"{summary(job)}\n")
    return 0
