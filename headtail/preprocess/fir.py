"""Zero-phase FIR filters that stream: windowed-sinc design, convolution with a memory."""

import numpy as np

from headtail.preprocess.step import Signal


def band_pass(low_hz: float, high_hz: float, rate_hz: float, half: int) -> Signal:
    """Design a linear-phase band-pass with unit gain in the middle of its band.

    The difference of two Hamming-windowed sinc low-passes, freed of its mean so that a constant
    gives zero.

    Args:
        low_hz: Lower edge (-6 dB).
        high_hz: Upper edge (-6 dB), below rate_hz / 2.
        rate_hz: Sampling rate.
        half: Taps on either side of the middle one.

    Returns:
        Kernel, shape (2 half + 1,), symmetric.

    Source: Oppenheim & Schafer, Discrete-Time Signal Processing, 3rd ed., section 7.5 (window
        method).
    """
    n = np.arange(-half, half + 1)
    window = np.hamming(2 * half + 1)
    ideal = 2 * high_hz / rate_hz * np.sinc(2 * high_hz / rate_hz * n)
    ideal -= 2 * low_hz / rate_hz * np.sinc(2 * low_hz / rate_hz * n)
    kernel = ideal * window
    kernel -= window * (kernel.sum() / window.sum())
    middle = 2 * np.pi * (low_hz + high_hz) / 2 / rate_hz
    return np.asarray(kernel / np.sum(kernel * np.cos(middle * n)), dtype=np.float64)


class StreamingFir:
    """A symmetric FIR filter without delay: output i belongs to sample i.

    It waits for half a kernel of samples to come. Before the first sample and after the last the
    signal is taken to stand still. Every output is one dot product over the same samples however
    they were cut into pushes, so the result does not depend on the cuts, to the last bit.
    """

    def __init__(self, kernel: Signal) -> None:
        """Take a symmetric kernel of odd length."""
        self._kernel = kernel
        self._half = len(kernel) // 2
        self._past: Signal | None = None

    def push(self, samples: Signal) -> Signal:
        """Return the outputs that became known, shape (M,), M >= 0."""
        if len(samples) == 0:
            return samples
        if self._past is None:
            self._past = np.full(self._half, samples[0])
        known = np.concatenate((self._past, samples))
        if len(known) < len(self._kernel):
            self._past = known
            return known[:0]
        self._past = known[len(known) - 2 * self._half :]
        return np.convolve(known, self._kernel, mode="valid")

    def flush(self) -> Signal:
        """Return the last outputs, as many as there were samples less than outputs."""
        if self._past is None or self._half == 0:
            return np.empty(0)
        return self.push(np.full(self._half, self._past[-1]))
