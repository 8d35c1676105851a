"""What the fog makes of its windows: its time for each tail, its queue, and how many it fails."""

from collections.abc import Mapping

from edge_agent.partition.ratio_estimate import RatioEstimate

LEAST_S = 1e-4
"""Added to short times before they are compared: below this, clocks and threads decide."""
UNSEEN_DOUBT, DOUBT_PER_S, MAX_DOUBT = 1.5, 0.01, 1.5
"""Standard deviation of the logarithm of a fog's time: before the first answer, what silence adds
to its square a second, and its largest."""
FAILED_SHARE = 0.1
"""Share of a new window in the share of those that failed."""


class FogEstimate:
    """Times of tails by partition point, wait and failures, as the fog's answers tell them."""

    def __init__(self, tails_s: Mapping[int, float]) -> None:
        """Begin; `tails_s` has this device's time for the tail of each point, in seconds."""
        self._here_s = dict(tails_s)
        self._seen: dict[int, RatioEstimate] = {}
        self._queue = RatioEstimate(LEAST_S, noise=0.3, drift=0.1)
        self._heard_s: float | None = None
        self.failed_ratio = 0.0

    @property
    def is_seen(self) -> bool:
        """Whether the fog has answered at all."""
        return self._heard_s is not None

    @property
    def queue_s(self) -> float:
        """Wait in the fog, in seconds."""
        return max(0.0, self._queue.value - LEAST_S) if self._queue.is_seen else 0.0

    @property
    def tail_ratio(self) -> float:
        """The fog's time over this device's, over the points seen; 1 before the first."""
        there = sum(s.value for s in self._seen.values())
        here = sum(self._here_s[point] + LEAST_S for point in self._seen)
        return there / here if here else 1.0

    def tail_s(self, point: int) -> float:
        """Return the fog's time for the tail of a point, in seconds."""
        seen = self._seen.get(point)
        if seen is not None:
            return max(0.0, seen.value - LEAST_S)
        return self._here_s[point] * min(self.tail_ratio, 1e3)

    def silent_s(self, now_s: float) -> float:
        """Return how long nothing was heard of the fog, in seconds."""
        return 0.0 if self._heard_s is None else max(0.0, now_s - self._heard_s)

    def doubt(self, now_s: float) -> float:
        """Return the standard deviation of the logarithm of the fog's times."""
        if self._heard_s is None:
            return UNSEEN_DOUBT
        return float(min(MAX_DOUBT, (0.05**2 + DOUBT_PER_S * self.silent_s(now_s)) ** 0.5))

    def observe(self, point: int, tail_s: float, queue_s: float, now_s: float) -> bool:
        """Take what an answer says; return whether it made a jump believed."""
        self._heard_s = now_s
        self.failed_ratio *= 1.0 - FAILED_SHARE
        seen = self._seen.get(point)
        if seen is None:
            seen = self._seen[point] = RatioEstimate(tail_s + LEAST_S, spread=1.0)
        tail_jumped = seen.observe(tail_s + LEAST_S, now_s)
        return self._queue.observe(queue_s + LEAST_S, now_s) or tail_jumped

    def failed(self) -> None:
        """Take note of a window that the fog did not answer."""
        self.failed_ratio += FAILED_SHARE * (1.0 - self.failed_ratio)

    def forget(self) -> None:
        """Know nothing: it is another fog, perhaps."""
        self._heard_s = None
        self._seen.clear()
        self._queue = RatioEstimate(LEAST_S, noise=0.3, drift=0.1)
        self.failed_ratio = 0.0
