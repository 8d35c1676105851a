"""Tests of step `deviation`: by hand, causal, and alike on a stream and on known R peaks."""

import numpy as np
import pytest

from headtail.bundle.manifest import Step
from headtail.errors import ConfigError
from headtail.preprocess.beat import Beat
from headtail.preprocess.deviation import Deviation
from headtail.preprocess.pipeline import Pipeline

BEATS = [Step("resample", {"rate_hz": 125}), Step("beats")]


def test_windows_are_those_by_hand() -> None:
    """Less the mean of the two before; the first becomes zeros."""
    follower = Deviation(beats=2).start(125)
    windows = [(1.0, 2.0), (3.0, 2.0), (6.0, 0.0), (0.0, 1.0)]
    followed = [follower.follow(Beat(np.array(w), i, i + 2)) for i, w in enumerate(windows)]
    expected = [(0, 0), (2, 0), (4, -2), (-4.5, 0)]
    assert expected == [tuple(beat.values) for beat in followed]
    assert [(beat.r_peak, beat.end) for beat in followed] == [(i, i + 2) for i in range(4)]


def test_stream_is_the_windows_less_their_running_mean(make_ecg) -> None:
    """Against NumPy on the windows without the step, ahead of the rhythm's figures."""
    pieces = [make_ecg(duration_s=10.0, rr_s=rr_s)[0] for rr_s in (0.8, 0.6, 1.1)]
    signal = np.concatenate(pieces)
    plain = [w.values.astype(np.float64) for w in Pipeline(BEATS).stream(360).push(signal)]
    steps = [*BEATS, Step("deviation", {"beats": 5}), Step("rhythm", {"repeat": 1})]
    stream = Pipeline(steps).stream(360)
    pushed = [w for piece in np.array_split(signal, 41) for w in stream.push(piece)]
    assert len(pushed) == len(plain) > 20
    for i, window in enumerate(pushed):
        usual = np.mean(plain[max(0, i - 5) : i] or [plain[0]], axis=0)
        np.testing.assert_allclose(window.values[:-2], plain[i] - usual, atol=1e-6)
    streamed = pushed + stream.flush()
    at_peaks = Pipeline(steps).windows_at(signal, 360, [w.sample for w in streamed])
    assert [w.values.tobytes() for w in at_peaks] == [w.values.tobytes() for w in streamed]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([Step("deviation")], "'deviation': expected a step 'beats' before it"),
        ([Step("beats"), Step("rhythm"), Step("deviation")], "'deviation': expected resample"),
        ([Step("beats"), Step("deviation", {"beats": 0})], "'deviation': .*>= 1.*beats"),
    ],
)
def test_bad_order_and_parameters_are_named(steps: list[Step], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline(steps)
