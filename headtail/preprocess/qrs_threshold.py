"""Which tops of the QRS energy are heartbeats: adaptive levels, refractory period, search back.

After Pan & Tompkins, A Real-Time QRS Detection Algorithm, IEEE Trans. Biomed. Eng. 32(3), 1985. The
levels follow amplitudes, not energies; the numbers are tuned on MIT-BIH.
"""

import statistics
from typing import NamedTuple

# No heart beats again sooner (Pan & Tompkins, 1985); of tops within it the highest counts.
REFRACTORY_S = 0.2
# First levels are taken from so much signal.
LEARN_S = 2.0
# A top this close to a beat may be its T wave: then it must have this share of the beat's height.
T_WAVE_S = 0.32
T_WAVE_RATIO = 0.6
# Share of the way from noise level to beat level that a top must reach, at first sight and when
# looked at again because no beat came for so many usual intervals.
BEAT_RATIO = 0.3
SEARCH_RATIO = 0.15
SEARCH_INTERVALS = 1.5
# An interval over this is a gap in the signal, not a rhythm; it bounds how far back a search goes.
MAX_INTERVAL_S = 2.0
# How fast the levels follow, how fast the beat level falls while nothing is found, and what it
# stays above.
FOLLOW = 0.125
FOLLOW_SEARCH = 0.25
FALL = 0.8
FALL_EVERY_S = 1.0
MIN_CONTRAST = 3.0
# An artefact may raise the beat level by no more than one top of this many times its height does.
MAX_RISE = 2.0
REMEMBERED = 8


class Top(NamedTuple):
    """A local maximum of the QRS energy."""

    at: int
    """Sample."""
    height: float
    """Root of the energy, in the unit of the signal."""


class QrsThreshold:
    """Takes tops in time order, gives beats in time order.

    What happens is tied to sample numbers, never to when a call is made, so that the beats do not
    depend on how the signal was cut.
    """

    def __init__(self, rate_hz: float) -> None:
        """Begin at sample 0."""
        self._rate = rate_hz
        self._refractory = round(REFRACTORY_S * rate_hz)
        self._learn_until = round(LEARN_S * rate_hz)
        self._learning: list[Top] | None = []
        self._signal = 0.0
        self._noise = 0.0
        self._pending: Top | None = None
        self._missed: Top | None = None
        self._last: Top | None = None
        self._intervals: list[int] = []
        self._search_at = 0

    @property
    def oldest(self) -> int | None:
        """The earliest sample that may yet become a beat, of those seen; None if there is none."""
        tops = [top for top in (self._pending, self._missed) if top is not None]
        return min((top.at for top in [*tops, *(self._learning or ())]), default=None)

    def offer(self, top: Top) -> list[int]:
        """Take the next top and return the beats that became certain before it."""
        beats = self.advance(top.at)
        if self._learning is not None:
            self._learning.append(top)
        else:
            beats += self._offer_learned(top)
        return beats

    def advance(self, now: int) -> list[int]:
        """Learn that every top before sample `now` was offered; return what became certain."""
        beats: list[int] = []
        if self._learning is not None:
            if now < self._learn_until:
                return beats
            beats += self._learn()
        return beats + self._run_until(now)

    def flush(self, end: int) -> list[int]:
        """Return the last beats of a signal of `end` samples."""
        beats = self._learn() if self._learning is not None else []
        return beats + self._run_until(end + self._refractory)

    def _learn(self) -> list[int]:
        """Set the first levels, then take the tops that waited for them."""
        tops, self._learning = self._learning or [], None
        heights = [top.height for top in tops] or [0.0]
        self._signal = 0.6 * max(heights)
        self._noise = 0.5 * statistics.median(heights)
        self._search_at = self._learn_until + round(SEARCH_INTERVALS * self._rate)
        return [at for top in tops for at in self._offer_learned(top)]

    def _offer_learned(self, top: Top) -> list[int]:
        beats = self._run_until(top.at)
        if self._pending is None or top.height > self._pending.height:
            self._pending = top
        return beats

    def _run_until(self, now: int) -> list[int]:
        """Do what falls due by `now`; a top that waits for its decision holds a search up."""
        beats: list[int] = []
        while True:
            due = self._pending.at + self._refractory + 1 if self._pending else self._search_at
            if due > now:
                return beats
            beats += self._decide() if self._pending else self._search()

    def _decide(self) -> list[int]:
        top, self._pending = self._pending, None
        assert top is not None
        since = top.at - self._last.at if self._last else MAX_INTERVAL_S * self._rate
        if self._last is not None and since <= self._refractory:
            return []
        level = self._level(BEAT_RATIO)
        if self._last is not None and since < T_WAVE_S * self._rate:
            level = max(level, T_WAVE_RATIO * self._last.height)
        if top.height > level:
            height = min(top.height, MAX_RISE * self._signal)
            self._signal += FOLLOW * (height - self._signal)
            return self._accept(top)
        self._noise += FOLLOW * (min(top.height, self._signal) - self._noise)
        is_late = since >= T_WAVE_S * self._rate
        if is_late and (self._missed is None or top.height > self._missed.height):
            self._missed = top
        return []

    def _search(self) -> list[int]:
        """Look again at the highest top since the last beat; without one, lower the beat level."""
        missed, self._missed = self._missed, None
        if missed is not None and missed.height > self._level(SEARCH_RATIO):
            self._signal += FOLLOW_SEARCH * (missed.height - self._signal)
            return self._accept(missed)
        self._signal = max(FALL * self._signal, min(self._signal, MIN_CONTRAST * self._noise))
        self._search_at += round(FALL_EVERY_S * self._rate)
        return []

    def _accept(self, top: Top) -> list[int]:
        longest = MAX_INTERVAL_S * self._rate
        if self._last is not None and top.at - self._last.at <= longest:
            self._intervals = [*self._intervals[1 - REMEMBERED :], top.at - self._last.at]
        self._last, self._missed = top, None
        usual = statistics.median(self._intervals) if self._intervals else self._rate
        self._search_at = top.at + round(SEARCH_INTERVALS * usual)
        return [top.at]

    def _level(self, ratio: float) -> float:
        return self._noise + ratio * (self._signal - self._noise)
