"""Whose a connection is, as its first bytes tell."""

from collections.abc import Callable
from enum import Enum


class Verdict(Enum):
    """What is known for certain."""

    OURS = "ours"
    """It carries the mark of our agents' streams."""
    OTHER = "other"
    """Whatever may follow, it does not."""


Mark = Callable[[bytes], Verdict | int]
"""Takes the first bytes of a connection; returns what they tell, or how many would tell more."""
