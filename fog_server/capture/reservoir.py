"""Which windows a bounded sample keeps.

Each window that is offered draws a key, a number in [0, 1) at random, and those with the smallest
keys are kept: a uniform sample of all that was offered, whoever offered it and in whatever order,
so that servers which share a folder need not know of each other. Source: Efraimidis and Spirakis,
Inf. Process. Lett. 97 (2006), with equal weights (bottom-k sampling).

A full sample is cut to three quarters at once, so that files are not written again for every
window; the largest key that may still come in is remembered, which keeps the sample uniform.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

ROOM = 0.75
"""Share of a full sample that is kept."""
SPARSE = 0.5
"""Share of the bounds below which windows get in more easily again."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One window of a sample, or one that would be."""

    key: float
    time_s: float
    """Unix time of its arrival."""
    size_bytes: float
    """On the disk, its share of the file included."""
    id: str
    what: T
    """Where it is."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a sample may hold."""

    windows: int
    size_bytes: int
    age_s: float
    """Oldest that a window may become."""


@dataclass(frozen=True, slots=True)
class Settled(Generic[T]):
    """A sample within its bounds."""

    kept: Sequence[Entry[T]]
    below: float
    """Keys of windows that may come in are less than this."""
    expired: int
    """Windows that were too old."""


def settle(entries: Sequence[Entry[T]], bounds: Bounds, below: float, now_s: float) -> Settled[T]:
    """Return what is kept of a sample and of what is to join it.

    Of windows with one id the first is kept, and the others count for nothing.

    Args:
        entries: In the sample, then those to join.
        bounds: What it may hold.
        below: Limit of the keys, as it was settled last.
        now_s: Unix time.
    """
    unique = {entry.id: entry for entry in reversed(entries)}
    oldest_s = now_s - bounds.age_s
    young = [e for e in reversed(unique.values()) if e.time_s > oldest_s]
    found = sorted((e for e in young if e.key < below), key=lambda e: e.key)
    kept = found
    if _exceeds(found, bounds, 1.0):
        below = found[len(_fitting(found, bounds))].key
        kept = [e for e in found if e.key < below]
    elif len(unique) > len(young) and not _exceeds(found, bounds, SPARSE):
        below = min(1.0, 2.0 * below)
    return Settled(kept, below, len(unique) - len(young))


def _exceeds(entries: Sequence[Entry[T]], bounds: Bounds, share: float) -> bool:
    total = sum(e.size_bytes for e in entries)
    return len(entries) > share * bounds.windows or total > share * bounds.size_bytes


def _fitting(entries: Sequence[Entry[T]], bounds: Bounds) -> Sequence[Entry[T]]:
    """Return the first of them, as many as take three quarters of the bounds."""
    left = ROOM * bounds.size_bytes
    for count, entry in enumerate(entries):
        left -= entry.size_bytes
        if left < 0 or count >= max(1, int(ROOM * bounds.windows)):
            return entries[:count]
    return entries
