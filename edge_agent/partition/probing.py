"""Rare empty calls to a fog that is idle: when, and how large."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.partition.link_estimate import LinkEstimate

Call = Callable[[int, Callable[[float | None], None]], bool]
"""Calls the fog with so many bytes more than none, and tells how many seconds that took, or None;
returns whether it could be called."""
PROBE_BYTES = 58
"""Of an empty call on an open connection, framing and headers together, about."""
MAX_PADDING_BYTES, FIRST_PADDING_BYTES = 8 << 10, 64
GROWTH = 4
"""From one probe to the next, while they take no longer: as safe as it is quick."""
WAY_RATIO = 0.5
"""A probe may take so much longer than an empty one: what it says of the rate can then be seen."""
LEAST_RATIO, INTERVAL_RATIO = 0.1, 0.2
"""Of the time between two windows it may always take the first: on a slow link near by, calls
without bits take as long as on a quick one far away. It may never take more than the second."""
EMPTY_RATIO = 2
"""While nothing is sent, all but one in so many are empty: calls of one size take as long on many
links. While windows are sent they all are, but after a surprise: windows have another size."""
DULL = 3.0
"""Probes with padding that told nothing new, after which one may cost twice as much."""
LOOK_S = 2.0
"""While windows flow and nothing is open: what takes as long as before may have other reasons, a
slow link near by for a quick one far away."""
LINK_SHARE = 0.05
"""Of the link's time that probes take, in the long run."""
CHECKS = 3
"""After a surprise all but one in so many probes are of the size that it was of."""
AFRESH = 4.0
"""Probes that may at least after a jump."""
BURST = 6
"""Probes that may follow one another without a pause, where something is new; time brings them
back."""

DEBT = 1
"""So many more may follow one that was a surprise, on account: what a surprise is worth is soon
known, and until then all that is chosen may be wrong."""
REFUND = 0.9
"""Of a probe, at most, where it took less than it was to."""


@dataclass(frozen=True, slots=True)
class Price:
    """What probes cost, where their energy counts."""

    pause_s: float = 0.0
    """Least time between two, for what the last one took."""
    most_bytes: float = math.inf
    """That one may usually have, all of its own headers included."""


FREE = Price()


class Probing:
    """Decides on probes and has them made; no more than one is under way."""

    def __init__(self, probe_s: float) -> None:
        """Begin; `probe_s` is the least time between two, in seconds."""
        self._probe_s = probe_s
        self._call: Call | None = None
        self._last_s, self._asked_s, self._sent_s = -math.inf, 0.0, -math.inf
        self._least_rate = 0.0
        self._padding: int | None = None
        self._safe = self._dull = 0
        self._sent = 0
        self._promised_s = math.inf
        self._left = float(BURST)
        self._is_hurried = True
        self._is_under_way = False
        self.made = 0
        """Probes that were answered."""

    @property
    def is_spent(self) -> bool:
        """Whether no more probes are to follow without a pause."""
        return not self._is_under_way and (not self._is_hurried or self._left < 1.0)

    def connect(self, call: Call) -> None:
        """Call so from now on."""
        self._call = call
        self._left = BURST
        self.again()

    def hurry(self) -> None:
        """Allow a few probes without a pause: something seems to have changed."""
        self._is_hurried = True

    def rest(self) -> None:
        """Make no more of them than usual: nothing has changed after all."""
        self._is_hurried = False

    def again(self) -> None:
        """Begin anew: something has changed."""
        self._is_hurried = True
        self._left = max(self._left, AFRESH)
        # Without bits the first one tells the round trip; what else is on its way tells the rest.
        self._padding, self._safe, self._dull = None, 0, 0

    def wanted(
        self,
        now_s: float,
        estimate: LinkEstimate,
        interval_s: float,
        is_idle: Callable[[], bool],
        is_open: Callable[[], bool],
        price: Price = FREE,
    ) -> int | None:
        """Return how many bytes to send with a probe now; None: there shall be none.

        Args:
            now_s: Now.
            estimate: Of the link.
            interval_s: Between two windows.
            is_idle: Whether no window goes to the fog at present.
            is_open: Whether to know more could change the choice.
            price: What they cost.
        """
        if self._call is None or self._is_under_way:
            return None
        pause_s = min(price.pause_s, LOOK_S) if estimate.is_surprised else price.pause_s
        is_new = not estimate.samples
        link_s = self.paid_bits(estimate, interval_s) * estimate.seconds_per_bit / LINK_SHARE
        is_due = now_s - self._last_s >= max(self._probe_s, pause_s, link_s)
        refill = (now_s - self._asked_s) / max(self._probe_s, pause_s)
        self._left = min(BURST, self._left + refill)
        self._asked_s = now_s
        least = 1.0 - (DEBT if estimate.is_surprised else 0.0)
        if not is_due and not (self._is_hurried and self._left >= least):
            return None
        is_look = not (is_new or is_idle() or estimate.is_surprised or is_open())
        if is_look and now_s - self._sent_s < max(LOOK_S, pause_s):
            # To find that out took time too.
            self._is_hurried, self._last_s = False, now_s
            return None
        self._left = max(-float(DEBT), self._left - 1.0)
        self._is_hurried = self._is_hurried and self._left >= least
        self._last_s = self._sent_s = now_s
        self._is_under_way = True
        is_empty = is_look or is_new or self._padding is None
        if not self._is_hurried:
            is_empty = is_empty or not is_idle() or self.made % EMPTY_RATIO > 0
        is_doubtful = estimate.is_surprised and not is_due and self.made % CHECKS > 0
        if is_doubtful and self._padding is not None:
            padding = self._padding  # whether it was chance only another of its size can tell
        else:
            padding = 0 if is_empty else self._size(estimate, interval_s, price.most_bytes)
        self._sent = padding
        self._promised_s = estimate.predict(8.0 * (PROBE_BYTES + padding))
        return padding

    def call(self, padding_bytes: int, probed: Callable[[int, float | None], None]) -> None:
        """Make a probe; `probed` is told its size and how long it took."""

        def done(took_s: float | None) -> None:
            self._is_under_way = False
            self.made += took_s is not None
            if took_s is not None:
                self._least_rate = 8.0 * (PROBE_BYTES + padding_bytes) / max(took_s, 1e-6)
                # One that takes less than it was to take costs less, and another may come sooner.
                self._left += REFUND * max(0.0, 1.0 - took_s / self._promised_s)
                self._padding = padding_bytes
                self._safe = max(self._safe, padding_bytes)
            probed(padding_bytes, took_s)

        call = self._call
        if call is None or not call(padding_bytes, done):
            self._is_under_way = False

    def paid_bits(self, estimate: LinkEstimate, interval_s: float) -> float:
        """Return the bits of the last probe, as far as the next one has to wait for what it cost.

        A large one was sent because nothing was known: it goes without saying, once.
        """
        bits = 8.0 * PROBE_BYTES
        usual = LEAST_RATIO * interval_s / estimate.seconds_per_bit
        return bits + min(8.0 * self._sent, usual)

    @property
    def least_rate(self) -> float:
        """Bits a second at which the last probe's moved at least, as they were through in its time.

        What it cost is known by that, whatever is believed of the link.
        """
        return self._least_rate

    def _size(self, estimate: LinkEstimate, interval_s: float, most_bytes: float) -> int:
        """Return how many bytes show the rate, at a fair price and in no window's way."""
        self._dull += 1
        affordable = most_bytes * 2.0 ** (self._dull / DULL) - PROBE_BYTES
        least_s, most_s = LEAST_RATIO * interval_s, INTERVAL_RATIO * interval_s
        longer_s = min(max(WAY_RATIO * estimate.round_trip_s, least_s), most_s)
        # As quick as it may well be: what keeps a probe small is the one before it.
        quick = estimate.seconds_per_bit - math.sqrt(estimate.covariance[2])
        wanted = longer_s / max(quick, 0.5 * estimate.seconds_per_bit) / 8.0
        safe = max(FIRST_PADDING_BYTES, GROWTH * self._safe)
        affordable = max(FIRST_PADDING_BYTES, affordable)
        return int(min(MAX_PADDING_BYTES, safe, wanted, affordable))
