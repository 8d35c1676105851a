"""The preprocess of a bundle: its steps checked, in order, on windows or on a streaming signal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from headtail.bundle.manifest import Step
from headtail.errors import ConfigError, DataError, DTypeMismatch, NotFinite, ShapeMismatch
from headtail.preprocess.band_pass import BandPass
from headtail.preprocess.beat import Beat, Beats
from headtail.preprocess.deviation import Deviation, DeviationFollower
from headtail.preprocess.image import Layout, Resize
from headtail.preprocess.r_peaks import RPeakDetector, place_annotated
from headtail.preprocess.resample import Resample, Resampler
from headtail.preprocess.rhythm import Rhythm, RhythmFollower
from headtail.preprocess.step import Signal, WindowStep, read_parameters
from headtail.preprocess.window import (
    Concatenate,
    Interpolate,
    MinMax,
    Pad,
    Reshape,
    Scale,
    Standardise,
)
from headtail.tensor import Array, check_finite

SignalStep = Resample | Beats | Deviation | Rhythm
AnyStep = SignalStep | WindowStep
Follower = DeviationFollower | RhythmFollower
STEPS: Mapping[str, type[AnyStep]] = {
    "band_pass": BandPass,
    "beats": Beats,
    "concatenate": Concatenate,
    "deviation": Deviation,
    "interpolate": Interpolate,
    "layout": Layout,
    "minmax": MinMax,
    "pad": Pad,
    "resample": Resample,
    "reshape": Reshape,
    "resize": Resize,
    "rhythm": Rhythm,
    "scale": Scale,
    "standardise": Standardise,
}
# A long push is worked off in pieces, so that memory does not depend on it.
BLOCK = 16_384
# Beyond any converter's range; below it, squares and sums of float64 cannot overflow.
MAX_MAGNITUDE = 1e12


# Signal steps come before window steps, and each at most once.
_ORDER: Mapping[type, int] = {Resample: 0, Beats: 1, Deviation: 2, Rhythm: 3}


@dataclass(frozen=True, slots=True)
class Window:
    """One model input with the place it comes from."""

    values: Array
    """Model input without batch axis, float32."""
    sample: int
    """R peak, in samples of the original record."""
    end_sample: int
    """One past the last original sample the window needs."""


class Pipeline:
    """Checked preprocess steps; holds no state between windows and may be shared by threads."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Check the steps.

        Raises:
            ConfigError: If a step or parameter is unknown or out of bounds, or the steps come in an
                order that cannot run; the text names the step.
        """
        self.steps = tuple(steps)
        read = [_read(step) for step in self.steps]
        kinds = [_ORDER.get(type(parameters), len(_ORDER)) for parameters in read]
        for step, kind, before in zip(self.steps[1:], kinds[1:], kinds, strict=False):
            if kind < before or kind == before < len(_ORDER):
                raise ConfigError(
                    f"preprocess step '{step.name}'",
                    "expected resample, beats, deviation, rhythm, then window steps",
                )
        self._resample = next((p for p in read if isinstance(p, Resample)), None)
        self._beats = next((p for p in read if isinstance(p, Beats)), None)
        self._followed = [p for p in read if isinstance(p, Deviation | Rhythm)]
        self._window_steps = [p for p in read if not isinstance(p, SignalStep)]
        if self._beats is None and self._resample is not None:
            raise ConfigError("preprocess step 'resample'", "expected a step 'beats' after it")
        if self._beats is None and self._followed:
            name = next(step.name for step in self.steps if step.name in ("deviation", "rhythm"))
            raise ConfigError(f"preprocess step '{name}'", "expected a step 'beats' before it")

    @property
    def has_signal_steps(self) -> bool:
        """Whether the steps take a continuous signal; if not, only windows."""
        return self._beats is not None

    @property
    def has_window_steps(self) -> bool:
        """Whether a window changes beyond its dtype."""
        return bool(self._window_steps)

    def window(self, array: ArrayLike) -> Array:
        """Return the model input of one raw window: the window steps alone.

        Args:
            array: What the signal steps give, an image, or a window from a file; any number type.

        Returns:
            Model input without batch axis, float32, C order.

        Raises:
            DTypeMismatch: If it holds no numbers.
            ShapeMismatch: If it is empty or does not fit a step.
            NotFinite: If it holds NaN or infinity, or a step made one.
        """
        window = np.asarray(array)
        if window.dtype.kind not in "fiub":
            raise DTypeMismatch("window", "numbers", window.dtype.name)
        if window.ndim == 0 or window.size == 0:
            raise ShapeMismatch("window", (-1,), window.shape)
        check_finite(window, "window")
        window = window.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            for step in self._window_steps:
                window = step.apply(window)
            values = np.ascontiguousarray(window, dtype=np.float32)
        check_finite(values, "window after the preprocess steps")
        return values

    def stream(self, rate_hz: float) -> "SignalStream":
        """Begin a stream of samples at `rate_hz`.

        Raises:
            ConfigError: If the steps take no signal, or not one of this rate.
        """
        return SignalStream(self, self._signal_steps(), rate_hz)

    def windows_at(self, signal: ArrayLike, rate_hz: float, r_peaks: ArrayLike) -> list[Window]:
        """Cut the windows of known R peaks, as the stream would had it found them.

        An R peak is moved to the nearby extremum where the detector would put it, so that training
        on annotations and detection on the edge see the same windows.

        Args:
            signal: One lead, shape (N,).
            rate_hz: Its sampling rate.
            r_peaks: Sample numbers in [0, N), rising, shape (K,).

        Returns:
            K windows, in the order of `r_peaks`.

        Raises:
            ConfigError: As `stream`.
            DataError: If the R peaks do not rise or lie outside the signal.
            NotFinite, ShapeMismatch, DTypeMismatch: As `SignalStream.push`.
        """
        resample, beats = self._signal_steps()
        samples = checked_samples(signal, 0)
        peaks = np.asarray(r_peaks, dtype=np.int64).reshape(-1)
        inside = len(peaks) == 0 or (peaks[0] >= 0 and peaks[-1] < len(samples))
        if not inside or bool(np.any(np.diff(peaks) < 0)):
            raise DataError("R peaks", f"expected rising samples within 0 to {len(samples) - 1}")
        rate_out = resample.rate_hz if resample else rate_hz
        resampler = Resampler(rate_hz, rate_out)
        at_rate = np.concatenate((resampler.push(samples), resampler.flush()))
        near = np.rint(peaks * float(resampler.ratio)).astype(np.int64)
        placed = place_annotated(at_rate, rate_out, np.minimum(near, len(at_rate) - 1))
        cutter = beats.start(rate_out)
        cut = cutter.push(at_rate, placed.tolist(), 0) + cutter.flush()
        followers = self._followers(rate_out)
        return [self._finish(beat, followers, resampler, len(samples)) for beat in cut]

    def _signal_steps(self) -> tuple[Resample | None, Beats]:
        if self._beats is None:
            raise ConfigError(
                "preprocess", "these steps take windows, not a signal; a signal needs step 'beats'"
            )
        return self._resample, self._beats

    def _followers(self, rate_hz: float) -> Sequence[Follower]:
        return [step.start(rate_hz) for step in self._followed]

    def _finish(
        self, beat: Beat, followers: Sequence[Follower], resampler: Resampler, samples: int
    ) -> Window:
        """Apply the later steps and count in the record's samples, of which there are so many."""
        for follower in followers:
            beat = follower.follow(beat)
        down, up = resampler.ratio.denominator, resampler.ratio.numerator
        sample = min((2 * beat.r_peak * down + up) // (2 * up), samples - 1)
        return Window(self.window(beat.values), sample, min(-(-beat.end * down // up), samples))


class SignalStream:
    """One lead on its way through the steps; not to be shared by threads.

    The windows do not depend on how the samples were cut into pushes, and memory does not grow.
    """

    def __init__(
        self, pipeline: Pipeline, steps: tuple[Resample | None, Beats], rate_hz: float
    ) -> None:
        """Begin at sample 0; use `Pipeline.stream`."""
        resample, beats = steps
        rate_out = resample.rate_hz if resample else rate_hz
        self._pipeline = pipeline
        self._resampler = Resampler(rate_hz, rate_out)
        self._cutter = beats.start(rate_out)
        self._detector = RPeakDetector(rate_out)
        self._followers = pipeline._followers(rate_out)
        self._count = 0

    def push(self, samples: ArrayLike) -> list[Window]:
        """Take the next samples and return the windows they complete.

        Args:
            samples: Shape (N,), any number type, in the unit of the record.

        Raises:
            NotFinite: If one is NaN or infinite; the text says which. Nothing of the push is taken.
            DataError: If one is absurdly large.
            ShapeMismatch, DTypeMismatch: If it is no one-dimensional array of numbers.
        """
        checked = checked_samples(samples, self._count)
        self._count += len(checked)
        windows = []
        for start in range(0, len(checked), BLOCK):
            windows += self._take(self._resampler.push(checked[start : start + BLOCK]))
        return windows

    def flush(self) -> list[Window]:
        """End the signal and return the windows still under way; the stream is then spent."""
        windows = self._take(self._resampler.flush())
        peaks = self._detector.flush()
        beats = self._cutter.push(np.empty(0), peaks, 0) + self._cutter.flush()
        return windows + self._finish(beats)

    def _take(self, samples: Signal) -> list[Window]:
        peaks = self._detector.push(samples)
        beats = self._cutter.push(samples, peaks, self._detector.oldest)
        return self._finish(beats)

    def _finish(self, beats: list[Beat]) -> list[Window]:
        return [
            self._pipeline._finish(beat, self._followers, self._resampler, self._count)
            for beat in beats
        ]


def checked_samples(samples: ArrayLike, first: int) -> Signal:
    """Return `samples` as float64 after checking them; `first` is the number of the first one."""
    array = np.asarray(samples)
    if array.dtype.kind not in "fiu" and array.size:
        raise DTypeMismatch("signal", "numbers", array.dtype.name)
    if array.ndim != 1:
        raise ShapeMismatch("signal", (-1,), array.shape)
    signal = array.astype(np.float64)
    good = np.abs(signal) <= MAX_MAGNITUDE
    if not good.all():
        bad = int(np.argmin(good))
        if np.isfinite(signal[bad]):
            raise DataError(f"signal sample {first + bad}", f"{signal[bad]:g} is no measured value")
        count = int(len(signal) - np.isfinite(signal).sum())
        raise NotFinite(f"signal from sample {first + bad}", count, len(signal))
    return signal


def _read(step: Step) -> AnyStep:
    kind = STEPS.get(step.name)
    if kind is None:
        raise ConfigError(
            f"preprocess step '{step.name}'", f"unknown; known: {', '.join(sorted(STEPS))}"
        )
    return read_parameters(step, kind)
