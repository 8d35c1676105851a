"""Whether the first windows of a bundle speak for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from edge_agent.plan import Plan
from headtail.operations import Operations
from headtail.tensor import Array

FLOOR_S = 0.005
"""A head that takes no longer is never too slow: below this, what else the device does decides."""
EARLY_WINDOWS = 5
"""So many windows show that a head is too slow."""
MAX_FAILED, MAX_FAILED_RATIO = 2, 0.1
"""Windows that the fog may fail: so many, or this share of those seen."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of the first windows."""

    windows: int
    """So many must be good."""
    head_s: float
    """That the median of their heads may take, in seconds."""


class Referee:
    """Looks at windows until something speaks against the bundle, or enough are in."""

    def __init__(self, limits: Limits) -> None:
        """Begin with none."""
        self._limits = limits
        self._heads_s: list[float] = []
        self._windows = self._failed = 0

    @property
    def windows(self) -> int:
        """Windows seen."""
        return self._windows

    def has_enough(self) -> bool:
        """Return whether enough windows were good."""
        return self._windows >= self._limits.windows

    def judge(
        self, outputs: Mapping[str, Array], windows: int, head_s: float, *, is_failed: bool
    ) -> str | None:
        """Take note of windows that went through together; return what speaks against the bundle.

        Args:
            outputs: Of the model, by name, for all of them.
            windows: How many.
            head_s: Time of their head together.
            is_failed: Whether the fog failed them, and they were finished here.
        """
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                wrong = int(array.size - np.isfinite(array).sum())
                return f"output '{name}': {wrong} of {array.size} values are NaN or infinite"
        self._windows += windows
        self._failed += windows * is_failed
        self._heads_s += [head_s / windows] * windows
        if self._failed > max(MAX_FAILED, MAX_FAILED_RATIO * self._windows):
            return f"the fog failed {self._failed} of the first {self._windows} windows"
        if len(self._heads_s) >= min(EARLY_WINDOWS, self._limits.windows):
            return too_slow(median(self._heads_s), self._limits.head_s)
        return None


def too_slow(head_s: float, limit_s: float) -> str | None:
    """Return why a head is too slow, if it is."""
    if head_s <= limit_s:
        return None
    return f"the head takes {1e3 * head_s:.3g} ms a window, {1e3 * limit_s:.3g} ms are allowed"


def allowed_head_s(
    before: Plan, before_s: float, after: Plan, profile: str, slow_ratio: float
) -> float:
    """Return how long the head of a bundle may take on a window, in seconds.

    What the head before took here, by the operations of both; or what the manifest predicts
    for this device, where that is more. A head that has more to do may take longer.

    Args:
        before: What ran.
        before_s: What its head took on a window, in seconds.
        after: What shall run.
        profile: Name of this device's profile; empty: unknown, and the prediction means nothing.
        slow_ratio: How many times that is allowed.
    """
    work, work_before = _work(after), _work(before)
    growth = max(1.0, work / work_before) if work and work_before else 1.0
    predicted = [
        c.head_s for c in after.point.costs if c.device_profile == profile and c.head_s is not None
    ]
    return max(FLOOR_S, slow_ratio * max(growth * before_s, *predicted[:1], 0.0))


def _work(plan: Plan) -> int:
    """Return the operations of a plan's head on a window."""
    segments = plan.manifest.segments[: plan.point.index]
    return sum((s.operations for s in segments), Operations()).macs
