"""Logging of the three programs: one line per state change, on standard error."""

import logging
import sys


def configure(level: str = "info") -> None:
    """Send the log to standard error; `level` is debug, info, warning or error."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
