"""Processes beside the agent that give way to it."""

import contextlib
import os
import resource
from collections.abc import Mapping
from pathlib import Path

FIRST_VICTIM = "1000"
"""The score at which Linux ends a process before all others, where memory runs out."""


def be_modest(niceness: int, limits: Mapping[int, int]) -> None:
    """Lower this process' priority and set its limits; where memory runs out it goes first.

    A hardened unit may permit none of it, and has limits of its own.

    Args:
        niceness: Added to this process' own.
        limits: By `resource.RLIMIT_*`.
    """
    with _as_far_as_permitted():
        os.nice(niceness)
    for kind, value in limits.items():
        with _as_far_as_permitted():
            resource.setrlimit(kind, (value, value))
    with _as_far_as_permitted():
        Path("/proc/self/oom_score_adj").write_text(FIRST_VICTIM)


def _as_far_as_permitted() -> contextlib.suppress:
    return contextlib.suppress(OSError, ValueError)
