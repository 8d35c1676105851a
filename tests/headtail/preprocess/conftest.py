"""A signal with known R peaks, made of nothing but NumPy."""

from collections.abc import Callable

import numpy as np
import pytest

MakeEcg = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="session")
def make_ecg() -> MakeEcg:
    """Return a function that makes a steady ECG with P, QRS and T waves and slow drift."""

    def make(
        duration_s: float = 20.0, rate_hz: float = 360.0, rr_s: float = 0.8, noise: float = 0.01
    ) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(3)
        t = np.arange(round(duration_s * rate_hz)) / rate_hz
        signal = 0.2 * np.sin(2 * np.pi * 0.3 * t) + rng.normal(0, noise, len(t))
        peaks_s = np.arange(0.5, duration_s - 0.2, rr_s)
        for at_s in peaks_s:
            for offset_s, height, width_s in (
                (-0.17, 0.15, 0.02),
                (0, 1.0, 0.012),
                (0.25, 0.3, 0.05),
            ):
                signal += height * np.exp(-0.5 * ((t - at_s - offset_s) / width_s) ** 2)
        return signal, np.rint(peaks_s * rate_hz).astype(np.int64)

    return make
