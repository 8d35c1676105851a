"""Step `beats`: one window per heartbeat, from its R peak on, scaled by its last seconds.

Kachuee et al. 2018 (arXiv:1805.00794) cut the signal into 10 s pieces, scale each to [0, 1], take
the median R-R interval T of the piece and cut 1.2 T from every R peak, zero-padded to 187 samples.
A piece reaches up to 10 s into the future of its first beat, so that cannot run as the beats come.
The causal variant here takes the same three quantities from the past: T is the median of the R-R
intervals of the last 10 s up to the R peak, the scale is the range of the 10 s that end with the
window. A beat leaves 1.2 T after its R peak, in training and on the edge alike.

`before_s`, not in the paper, moves the begin of the window ahead of the R peak: it then shows the P
wave, and an early beat by the QRS complex before it.
"""

import itertools
import statistics
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from headtail.errors import ConfigError
from headtail.preprocess.r_peaks import MAX_RATE_HZ, MIN_RATE_HZ
from headtail.preprocess.step import Parameters, Signal


class Beats(Parameters, frozen=True):
    """Find R peaks and cut a window of `length` samples from each."""

    length: Annotated[int, msgspec.Meta(ge=8, le=65_536)] = 187
    """Samples of a window; shorter beats are zero-padded, longer ones end here."""
    span: Annotated[float, msgspec.Meta(ge=0.1, le=10)] = 1.2
    """Length of a beat in median R-R intervals."""
    before_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0
    """Where the window begins, ahead of the R peak; what lies before the record is zero."""
    context_s: Annotated[float, msgspec.Meta(ge=1, le=60)] = 10.0
    """How far back R-R intervals and range are taken from."""
    nominal_rr_s: Annotated[float, msgspec.Meta(ge=0.2, le=3)] = 0.8
    """R-R interval taken where the context holds a single R peak."""

    def start(self, rate_hz: float) -> "BeatCutter":
        """Begin a stream that comes in at `rate_hz`.

        Raises:
            ConfigError: If R peaks cannot be found at this rate, or a window is over the context.
        """
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise ConfigError(
                "preprocess step 'beats'",
                f"expected a signal of {MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} Hz, received {rate_hz:g}",
            )
        if self.length > self.context_s * rate_hz:
            raise ConfigError(
                "preprocess step 'beats'",
                f"length: expected at most context_s = {self.context_s * rate_hz:g} samples,"
                f" received {self.length}",
            )
        if self.before_s > self.context_s or round(self.before_s * rate_hz) >= self.length:
            raise ConfigError(
                "preprocess step 'beats'",
                f"before_s: expected less than the window's {self.length / rate_hz:g} s and at most"
                f" context_s = {self.context_s:g}, received {self.before_s:g}",
            )
        return BeatCutter(self, rate_hz)


class Beat(NamedTuple):
    """A window cut from the signal; positions count the samples of this step's signal."""

    values: Signal
    r_peak: int
    end: int


class _Due(NamedTuple):
    r_peak: int
    end: int


class BeatCutter:
    """Cuts the windows of known R peaks from a streaming signal."""

    def __init__(self, step: Beats, rate_hz: float) -> None:
        """Prepare for a signal at `rate_hz`; use `Beats.start`, which checks it."""
        self._step = step
        self._context = round(step.context_s * rate_hz)
        self._before = round(step.before_s * rate_hz)
        self._nominal = step.nominal_rr_s * rate_hz
        self._peaks: list[int] = []
        self._due: list[_Due] = []
        self._held: Signal = np.empty(0)
        self._begin = 0

    def push(self, samples: Signal, r_peaks: list[int], oldest: int) -> list[Beat]:
        """Take samples and the R peaks found meanwhile; return the windows that are complete.

        Args:
            samples: The next samples, shape (N,).
            r_peaks: R peaks not before those given so far.
            oldest: No later R peak will lie before this sample; what is older than its context is
                forgotten.
        """
        self._held = np.concatenate((self._held, samples))
        for r_peak in r_peaks:
            self._due.append(_Due(r_peak, r_peak + self._length(r_peak)))
        end = self._begin + len(self._held)
        # Windows leave in the order of their R peaks: one that waits holds up those after it.
        ready = list(itertools.takewhile(lambda due: due.end <= end, self._due))
        beats = [self._cut(due) for due in ready]
        del self._due[: len(ready)]
        self._forget(oldest)
        return beats

    def flush(self) -> list[Beat]:
        """Return the windows that the end of the signal left incomplete, zero-padded."""
        end = self._begin + len(self._held)
        beats = [self._cut(_Due(due.r_peak, min(due.end, end))) for due in self._due]
        self._due = []
        return beats

    def _length(self, r_peak: int) -> int:
        self._peaks = [p for p in self._peaks if p >= r_peak - self._context]
        self._peaks.append(r_peak)
        # A dozen numbers: the standard library is fifty times faster on them than NumPy.
        gaps = [after - before for before, after in itertools.pairwise(self._peaks)]
        typical = statistics.median(gaps) if gaps else self._nominal
        return max(1, min(self._step.length - self._before, round(self._step.span * typical)))

    def _cut(self, due: _Due) -> Beat:
        start = max(0, due.end - self._context - self._begin)
        stop = due.end - self._begin
        context = self._held[start:stop]
        low, high = float(context.min()), float(context.max())
        values = np.zeros(self._step.length)
        if high > low:
            first = due.r_peak - self._before - self._begin
            beat = self._held[max(0, first) : stop]
            missing = max(0, -first)
            values[missing : missing + len(beat)] = (beat - low) / (high - low)
        return Beat(values, due.r_peak, due.end)

    def _forget(self, oldest: int) -> None:
        keep = min([oldest, *(due.r_peak for due in self._due[:1])]) - self._context
        if keep > self._begin:
            self._held = self._held[keep - self._begin :].copy()
            self._begin = keep
