"""What this device makes of its windows: how much slower heads run than at load, and how often."""

from edge_agent.partition.ratio_estimate import RatioEstimate

LEAST_S, LEAST_SHARE = 5e-5, 0.05
"""Added to both sides of a ratio, in seconds and as a share of the whole model: heads as short as
this say little, and shorter ones nothing."""
SHARE = 0.1
"""Share of a new window in what is averaged."""


class DeviceEstimate:
    """Heat and load slow all heads alike, so one ratio serves every partition point."""

    def __init__(self, whole_s: float) -> None:
        """Begin with a device that takes `whole_s` for the whole model, as when it was loaded."""
        self._least_s = LEAST_S + LEAST_SHARE * whole_s
        self._ratio = RatioEstimate(1.0, spread=0.03, drift=0.01)
        self.overhead_s = 0.0
        """Of the agent for each window that the fog answers, beyond head and message."""
        self.interval_s = float("inf")
        """Between windows, as they come."""

    @property
    def head_ratio(self) -> float:
        """How many times longer heads take than when the bundle was loaded."""
        return self._ratio.value

    @property
    def doubt(self) -> float:
        """Standard deviation of the ratio's logarithm."""
        return float(self._ratio.variance**0.5)

    def observe(self, expected_s: float, took_s: float, now_s: float) -> bool:
        """Take the time of a head that took `expected_s` at load; return whether it has jumped."""
        if expected_s < self._least_s:
            return False
        ratio = (took_s + self._least_s) / (expected_s + self._least_s)
        return self._ratio.observe(ratio, now_s)

    def spent(self, seconds: float) -> None:
        """Take what a window took beyond all that is accounted for."""
        self.overhead_s += SHARE * (max(0.0, seconds) - self.overhead_s)

    def came(self, seconds: float) -> None:
        """Take the time between two windows, waits for room not counted."""
        if self.interval_s == float("inf"):
            self.interval_s = seconds
        else:
            self.interval_s += SHARE * (seconds - self.interval_s)
