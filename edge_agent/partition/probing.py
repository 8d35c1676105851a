"""Rare empty calls to a fog that is idle: when, and how large."""

import math
from collections.abc import Callable

from edge_agent.partition.link_estimate import LinkEstimate

Call = Callable[[int, Callable[[float | None], None]], bool]
"""Calls the fog with so many bytes more than none, and tells how many seconds that took, or None;
returns whether it could be called."""
PROBE_BYTES = 130
"""Of an empty call on an open connection, framing and headers together, about."""
MAX_PADDING_BYTES, FIRST_PADDING_BYTES = 8 << 10, 64
GROWTH = 4
"""From one probe to the next, while they take no longer: as safe as it is quick."""
WAY_RATIO = 0.5
"""A probe may take so much longer than an empty one: what it says of the rate can then be seen."""
LEAST_RATIO, INTERVAL_RATIO = 0.1, 0.2
"""Of the time between two windows it may always take the first: on a slow link near by, calls
without bits take as long as on a quick one far away. It may never take more than the second."""
EMPTY_RATIO = 4
"""Where their energy counts all but one in so many are empty."""
LINK_SHARE = 0.05
"""Of the link's time that probes take, in the long run."""
BURST = 6
"""Probes that may follow one another without a pause, where something is new; time brings them
back."""


class Probing:
    """Decides on probes and has them made; no more than one is under way."""

    def __init__(self, probe_s: float) -> None:
        """Begin; `probe_s` is the least time between two, in seconds."""
        self._probe_s = probe_s
        self._call: Call | None = None
        self._last_s, self._asked_s = -math.inf, 0.0
        self._took_s = 0.0
        self._padding: int | None = None
        self._sent = 0
        self._left = float(BURST)
        self._is_hurried = True
        self._is_under_way = False
        self.made = 0
        """Probes that were answered."""

    @property
    def is_spent(self) -> bool:
        """Whether no more probes may follow without a pause."""
        return self._left < 1.0

    def connect(self, call: Call) -> None:
        """Call so from now on."""
        self._call = call
        self._left = BURST
        self.again()

    def hurry(self) -> None:
        """Allow a few probes without a pause: something seems to have changed."""
        self._is_hurried = True

    def again(self) -> None:
        """Begin anew: something has changed."""
        self._is_hurried = True
        # Without bits the first one tells the round trip; what else is on its way tells the rest.
        self._padding = None

    def wanted(
        self,
        now_s: float,
        estimate: LinkEstimate,
        interval_s: float,
        is_idle: Callable[[], bool],
        is_open: Callable[[], bool],
        pause_s: float = 0.0,
    ) -> int | None:
        """Return how many bytes to send with a probe now; None: there shall be none.

        Args:
            now_s: Now.
            estimate: Of the link.
            interval_s: Between two windows.
            is_idle: Whether no window goes to the fog at present.
            is_open: Whether to know more could change the choice.
            pause_s: Least time between two for what the last one cost.
        """
        if self._call is None or self._is_under_way:
            return None
        is_new = not estimate.samples
        is_due = now_s - self._last_s >= max(self._pause_s, pause_s)
        self._left = min(BURST, self._left + (now_s - self._asked_s) / self._probe_s)
        self._asked_s = now_s
        if not is_due and not (self._is_hurried and self._left >= 1.0):
            return None
        if not is_new and not is_idle() and not is_open():
            # To find that out took time too.
            self._is_hurried, self._last_s = False, now_s
            return None
        self._left = max(0.0, self._left - 1.0)
        self._is_hurried = self._is_hurried and self._left >= 1.0
        self._last_s = now_s
        self._is_under_way = True
        is_dear = pause_s > self._probe_s and not self._is_hurried
        is_empty = is_new or self._padding is None or (is_dear and self.made % EMPTY_RATIO > 0)
        padding = 0 if is_empty else self._size(estimate, interval_s)
        self._sent = padding
        self._took_s = self.last_bits * estimate.seconds_per_bit
        return padding

    def call(self, padding_bytes: int, probed: Callable[[int, float | None], None]) -> None:
        """Make a probe; `probed` is told its size and how long it took."""

        def done(took_s: float | None) -> None:
            self._is_under_way = False
            self.made += took_s is not None
            if took_s is not None:
                self._padding = padding_bytes
            probed(padding_bytes, took_s)

        call = self._call
        if call is None or not call(padding_bytes, done):
            self._is_under_way = False

    @property
    def last_bits(self) -> float:
        """Of the last probe."""
        return 8.0 * (PROBE_BYTES + self._sent)

    @property
    def _pause_s(self) -> float:
        return max(self._probe_s, self._took_s / LINK_SHARE)

    def _size(self, estimate: LinkEstimate, interval_s: float) -> int:
        """Return how many bytes show the rate without standing in a window's way."""
        least_s, most_s = LEAST_RATIO * interval_s, INTERVAL_RATIO * interval_s
        longer_s = min(max(WAY_RATIO * estimate.round_trip_s, least_s), most_s)
        # As quick as it may well be: what keeps a probe small is the one before it.
        quick = estimate.seconds_per_bit - math.sqrt(estimate.covariance[2])
        wanted = longer_s / max(quick, 0.5 * estimate.seconds_per_bit) / 8.0
        safe = max(FIRST_PADDING_BYTES, GROWTH * (self._padding or 0))
        return int(min(MAX_PADDING_BYTES, safe, wanted))
