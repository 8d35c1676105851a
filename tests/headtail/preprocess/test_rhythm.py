"""Tests of the R-R figures: by hand, causal, and alike on a stream and on known R peaks."""

import numpy as np
import pytest

from headtail.bundle.manifest import Step
from headtail.errors import ConfigError
from headtail.preprocess.beat import Beat
from headtail.preprocess.pipeline import Pipeline
from headtail.preprocess.rhythm import Rhythm

STEPS = [Step("resample", {"rate_hz": 125}), Step("beats"), Step("rhythm", {"repeat": 3})]


def figures(step: Rhythm, peaks: list[int], rate_hz: float = 100.0) -> list[tuple[float, ...]]:
    """Return what is appended to windows of two zeros."""
    follower = step.start(rate_hz)
    followed = [follower.follow(Beat(np.zeros(2), peak, peak + 2)) for peak in peaks]
    assert all(np.array_equal([0, 0], beat.values[:2]) for beat in followed)
    return [tuple(beat.values[2:].round(6).tolist()) for beat in followed]


def test_figures_are_those_by_hand() -> None:
    """Intervals of 0.8, 0.8, 0.5 and 1.1 s: halves of seconds and of ratios to the mean before."""
    expected = [
        (0, 0),
        (0.4, 0.5),
        (0.4, 0.5),
        (0.25, 0.5 * 50 / 80),
        (0.55, 0.5 * 110 / 70),
    ]
    actual = figures(Rhythm(repeat=1), [10, 90, 170, 220, 330])
    assert [pytest.approx(e, abs=1e-6) for e in expected] == actual


def test_long_pause_is_one() -> None:
    """A pause of 5 s after steady beats saturates both figures."""
    assert (1, 1, 1, 1) == figures(Rhythm(repeat=2), [0, 80, 160, 660])[-1]


def test_mean_forgets_what_is_older_than_past() -> None:
    """With 1 s of past the intervals of 40 samples long ago count no more."""
    peaks = [0, 40, 80, 160, 240]
    assert (0.4, 0.5) == figures(Rhythm(repeat=1, past_s=1), peaks)[-1]
    assert (0.4, 0.5 * 80 / (160 / 3)) == pytest.approx(
        figures(Rhythm(repeat=1), peaks)[-1], abs=1e-6
    )


def test_two_annotations_at_one_peak_have_the_same_figures() -> None:
    once, twice = figures(Rhythm(), [0, 80, 140]), figures(Rhythm(), [0, 80, 80, 140])
    assert [once[0], once[1], once[1], once[2]] == twice


def irregular(make_ecg) -> np.ndarray:
    """Return a minute in which the rhythm changes from piece to piece."""
    pieces = [make_ecg(duration_s=10.0, rr_s=rr_s)[0] for rr_s in (0.8, 0.6, 1.1, 0.7, 0.9, 0.5)]
    return np.concatenate(pieces)


def test_stream_and_training_make_the_same_windows(make_ecg) -> None:
    """A stream in odd pieces equals the windows cut at the R peaks that it found, bit by bit."""
    signal = irregular(make_ecg)
    pipeline = Pipeline(STEPS)
    stream = pipeline.stream(360)
    streamed = [w for piece in np.array_split(signal, 97) for w in stream.push(piece)]
    streamed += stream.flush()
    at_peaks = pipeline.windows_at(signal, 360, [w.sample for w in streamed])
    assert len(streamed) > 60
    assert [w.sample for w in at_peaks] == [w.sample for w in streamed]
    assert [w.values.tobytes() for w in at_peaks] == [w.values.tobytes() for w in streamed]
    assert {(193,)} == {w.values.shape for w in streamed}
    assert len({w.values[187:].tobytes() for w in streamed}) > 10


def test_what_follows_a_window_cannot_change_it(make_ecg) -> None:
    """Windows that ended before the signal is cut off are those of the whole signal."""
    signal = irregular(make_ecg)
    pipeline = Pipeline(STEPS)
    peaks = np.array([w.sample for w in pipeline.stream(360).push(signal)])
    whole = pipeline.windows_at(signal, 360, peaks)
    stop = 25 * 360
    early = pipeline.windows_at(signal[:stop], 360, peaks[peaks < stop])
    # What the cut itself touches: a window that is not over, and the filter around the cut.
    safe = [i for i, w in enumerate(early) if w.end_sample < stop - 360]
    assert len(safe) > 20
    assert [whole[i].values.tobytes() for i in safe] == [early[i].values.tobytes() for i in safe]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([Step("rhythm")], "'rhythm': expected a step 'beats' before it"),
        (
            [Step("rhythm"), Step("beats")],
            "'beats': expected resample, beats, deviation, r",
        ),
        ([Step("beats"), Step("rhythm"), Step("rhythm")], "'rhythm': expected resample, beats"),
        ([Step("beats"), Step("minmax"), Step("rhythm")], "'rhythm': expected resample, beats"),
        ([Step("beats"), Step("rhythm", {"repeat": 0})], "'rhythm': .*>= 1.*repeat"),
        ([Step("beats"), Step("rhythm", {"past_s": 1e9})], "'rhythm': .*past_s"),
    ],
)
def test_bad_order_and_parameters_are_named(steps: list[Step], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline(steps)


ALL = ("interval", "ratio", "ratio_previous", "ratio_recent", "variability")


def test_every_figure_is_that_by_hand() -> None:
    """Intervals of 0.8, 0.6, 1.0 and 0.4 s; two of them are recent."""
    step = Rhythm(repeat=1, figures=ALL, recent=2)
    expected = [
        (0, 0, 0, 0, 0),
        (0.4, 0.5, 0.5, 0.5, 0),
        (0.3, 0.5 * 60 / 80, 0.5 * 60 / 80, 0.5 * 60 / 80, 0),
        (0.5, 0.5 * 100 / 70, 0.5 * 100 / 60, 0.5 * 100 / 70, 20 / 70),
        (0.2, 0.5 * 40 / 80, 0.5 * 40 / 100, 0.5 * 40 / 80, 40 / 80),
    ]
    actual = figures(step, [10, 90, 150, 250, 290])
    assert [pytest.approx(e, abs=1e-6) for e in expected] == actual


def test_a_gain_appends_deviations() -> None:
    """From 0.8 s, from 1 and from 0, times the gain, at most 2 either way."""
    step = Rhythm(repeat=1, figures=ALL, recent=2, gain=3.0)
    last = figures(step, [10, 90, 150, 250, 290])[-1]
    assert last == pytest.approx((3 * -0.4, 3 * -0.5, 3 * -0.6, 3 * -0.5, 3 * 0.5), abs=1e-6)
    assert figures(step, [0, 80, 160, 660])[-1] == (2, 2, 2, 2, 0)
    with pytest.raises(ConfigError, match="figures must hold each one once"):
        Pipeline([Step("beats"), Step("rhythm", {"figures": ["ratio", "ratio"]})])
