"""What every command that asks the job service has: how to reach it, and how it may end."""

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec

from headtail.errors import OptimizerUnavailable
from headtail.tls import check_plaintext, choose_files, require_tls13
from optimizer.serve.client import JobsClient
from optimizer.serve.config import Config
from optimizer.serve.job import Job, State

JOB_FAILED, JOB_CANCELLED, TIMED_OUT, UNAVAILABLE = 3, 4, 5, 6
"""Exit codes beyond 0 (well), 1 (what the user can mend) and 2 (usage)."""
EXIT_CODES = """\
exit codes: 0 well, 1 an error that the line names, 2 wrong usage, 3 the job has failed,
4 it was cancelled, 5 it was not over in time, 6 the service is away
"""
DEFAULT_ADDRESS = Config().listen
Work = Callable[[JobsClient, argparse.Namespace], int]


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    examples: str,
    work: Work,
) -> argparse.ArgumentParser:
    """Add a command that asks the service, and return its parser for the flags of its own."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--optimizer",
        metavar="HOST:PORT",
        default=DEFAULT_ADDRESS,
        help=f"the job service (default {DEFAULT_ADDRESS})",
    )
    add("--json", action="store_true", help="answer in JSON")
    add(
        "--retry-s",
        type=float,
        metavar="S",
        default=10.0,
        help="how long to try again while the service is away (default 10)",
    )
    add("--tls-ca", metavar="FILE", default="", help="PEM certificates of the service's authority")
    add("--tls-cert", metavar="FILE", default="", help="PEM certificate of the caller")
    add("--tls-key", metavar="FILE", default="", help="PEM private key of the caller")
    add("--insecure", action="store_true", help="allow plaintext to another machine")
    parser.set_defaults(handler=_handler(work))
    return parser


def exit_code(job: Job) -> int:
    """Return how a command ends that waited for a job."""
    codes = {State.SUCCEEDED: 0, State.FAILED: JOB_FAILED, State.CANCELLED: JOB_CANCELLED}
    return codes.get(job.state, TIMED_OUT)


def write_json(value: Any) -> None:
    """Write a value to standard output, on a line of its own and at once."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def _handler(work: Work) -> Callable[[argparse.Namespace], int]:
    def handle(arguments: argparse.Namespace) -> int:
        require_tls13()
        tls = choose_files(arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
        if tls is None:
            address = arguments.optimizer
            check_plaintext(address, is_allowed=arguments.insecure, where="--optimizer")
        try:
            with closing(JobsClient(arguments.optimizer, tls, arguments.retry_s)) as client:
                return work(client, arguments)
        except OptimizerUnavailable as error:
            sys.stderr.write(f"error: {error}\n")
            return UNAVAILABLE
        except TimeoutError as error:
            sys.stderr.write(f"error: {error}\n")
            return TIMED_OUT

    return handle
