"""The program `reoptimize`: flags in, an exit code out."""

import argparse
from collections.abc import Sequence

from headtail.errors import HeadtailError
from headtail.tls import require_tls13
from reoptimization.course import Course
from reoptimization.flags import make_parser, read_request
from reoptimization.narrator import Narrator
from reoptimization.outcome import Code, Outcome

INTERRUPTED = 130
"""Exit code after SIGINT, as shells have it: 128 + 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one request; return the exit code."""
    flags = make_parser().parse_args(argv)
    narrator = Narrator(is_json=flags.json)
    try:
        outcome = _run(flags, narrator)
    except KeyboardInterrupt:
        narrator.say("interrupted; job and trial go on, the same command joins them")
        return INTERRUPTED
    narrator.end(outcome)
    return int(outcome.code)


def _run(flags: argparse.Namespace, narrator: Narrator) -> Outcome:
    require_tls13()
    try:
        return Course(read_request(flags), narrator).run()
    except HeadtailError as error:
        return Outcome(Code.FAILED, "failed", str(error))
