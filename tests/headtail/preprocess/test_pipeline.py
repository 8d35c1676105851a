"""Tests of the pipeline: checked steps, windows, streams."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.bundle.manifest import Step
from headtail.errors import ConfigError, DataError, DTypeMismatch, NotFinite, ShapeMismatch
from headtail.preprocess.pipeline import STEPS, Pipeline, Window

SIGNAL_STEPS = [Step("resample", {"rate_hz": 125}), Step("beats")]
KACHUEE = [
    *SIGNAL_STEPS,
    Step("interpolate", {"length": 2048}),
    Step("reshape", {"shape": [2048, 1]}),
]


def stream(signal: np.ndarray, cuts: list[int]) -> list[Window]:
    """Stream a 360 Hz signal cut into pushes."""
    running = Pipeline(KACHUEE).stream(360)
    pieces = np.split(signal, sorted(cuts))
    return [window for piece in pieces for window in running.push(piece)] + running.flush()


def assert_same(expected: list[Window], actual: list[Window]) -> None:
    """Compare windows to the last bit."""
    assert [(w.sample, w.end_sample) for w in expected] == [
        (w.sample, w.end_sample) for w in actual
    ]
    for left, right in zip(expected, actual, strict=True):
        assert left.values.tobytes() == right.values.tobytes()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step("fft"), "preprocess step 'fft': unknown; known: band_pass, beats, concatenate,"),
        (Step("pad", {"size": 4}), "preprocess step 'pad': .*unknown field `size`"),
        (Step("pad"), "preprocess step 'pad': expected exactly one of `length` and `multiple`"),
        (Step("pad", {"length": 0}), r"preprocess step 'pad': .*>= 1.*length"),
        (Step("pad", {"length": "4"}), r"preprocess step 'pad': .*length"),
        (Step("interpolate", {"length": 1 << 30}), r"preprocess step 'interpolate': .*<= 1048576"),
        (Step("resample"), "preprocess step 'resample': .*missing required field `rate_hz`"),
        (Step("resample", {"rate_hz": float("nan")}), "preprocess step 'resample': .*rate_hz"),
        (Step("scale", {"gain": float("inf")}), "preprocess step 'scale': .*gain"),
        (Step("resize", {"height": 9999, "width": 1}), "preprocess step 'resize': .*height"),
    ],
)
def test_bad_step_is_named(step: Step, message: str) -> None:
    """An unknown step or parameter, or one out of bounds, gives one line that names it."""
    with pytest.raises(ConfigError, match=message) as caught:
        Pipeline([step])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "names", [["minmax", "beats"], ["beats", "resample"], ["beats", "beats"], ["resample"]]
)
def test_order_that_cannot_run_is_refused(names: list[str]) -> None:
    parameters: dict[str, dict[str, Any]] = {"resample": {"rate_hz": 125}}
    with pytest.raises(ConfigError, match="expected"):
        Pipeline([Step(name, parameters.get(name, {})) for name in names])


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_is_immutable_and_documented(name: str) -> None:
    assert STEPS[name].__struct_config__.frozen
    assert STEPS[name].__struct_config__.forbid_unknown_fields
    assert STEPS[name].__doc__


def test_window_steps_run_in_order() -> None:
    """Pad, then scale: the padding is scaled too; the result is float32."""
    pipeline = Pipeline([Step("pad", {"length": 3}), Step("scale", {"offset": 1})])
    values = pipeline.window(np.array([1, 2], np.int16))
    np.testing.assert_array_equal(np.array([2, 3, 1], np.float32), values, strict=True)


def test_pipeline_without_steps_takes_windows_as_they_are() -> None:
    window = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(window, Pipeline([]).window(window), strict=True)


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.array([1, np.nan]), NotFinite),
        (np.array([]), ShapeMismatch),
        (np.float32(1), ShapeMismatch),
        (np.array(["a"]), DTypeMismatch),
    ],
)
def test_bad_window_is_refused(array: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^window: expected"):
        Pipeline([]).window(array)


def test_overflow_in_a_step_is_found() -> None:
    """A gain that leaves float32's range is an error, not infinity."""
    pipeline = Pipeline([Step("scale", {"gain": 1e30})])
    with pytest.raises(NotFinite, match="window after the preprocess steps: expected finite"):
        pipeline.window(np.array([1e30]))


def test_windows_have_the_place_in_the_original_record(make_ecg) -> None:
    """`sample` is the R peak at 360 Hz, `end_sample` lies 1.2 R-R intervals after it."""
    signal, peaks = make_ecg()
    windows = stream(signal, [])
    assert len(peaks) == len(windows)
    assert max(abs(w.sample - p) for w, p in zip(windows, peaks, strict=True)) <= 4
    assert {(2048, 1)} == {window.values.shape for window in windows}
    assert all(abs(w.end_sample - w.sample - 1.2 * 0.8 * 360) <= 6 for w in windows[2:-2])
    assert len(signal) == windows[-1].end_sample


def test_known_peaks_give_the_windows_of_the_stream(make_ecg) -> None:
    """Training on annotations sees what the edge sees, bit by bit, where all beats are found."""
    signal, peaks = make_ecg()
    assert_same(stream(signal, []), Pipeline(KACHUEE).windows_at(signal, 360, peaks))


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 7200), max_size=30))
def test_cuts_do_not_matter(make_ecg, cuts: list[int]) -> None:
    """A stream gives the same windows, to the last bit, however it was cut into pushes."""
    signal, _ = make_ecg(noise=0.05)
    assert_same(stream(signal, []), stream(signal, cuts))


def test_window_comes_as_soon_as_its_signal_is_there(make_ecg) -> None:
    """In pushes of 0.1 s a beat leaves within 0.5 s of its last sample."""
    signal, _ = make_ecg()
    running = Pipeline(SIGNAL_STEPS).stream(360)
    for end in range(36, len(signal), 36):
        for window in running.push(signal[end - 36 : end]):
            assert end < 3 * 360 or end - window.end_sample <= 180


def test_empty_push_gives_nothing() -> None:
    running = Pipeline(SIGNAL_STEPS).stream(360)
    assert [] == running.push([]) == running.flush()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sample_that_is_no_number_is_named_and_nothing_taken(make_ecg, bad: float) -> None:
    """The error says which sample; the stream goes on as if the push had not been made."""
    signal, _ = make_ecg()
    running = Pipeline(KACHUEE).stream(360)
    windows = running.push(signal[:1000])
    spoilt = signal[1000:2000].copy()
    spoilt[5] = bad
    with pytest.raises(
        NotFinite, match=r"signal from sample 1005: .*received 1 NaN or inf of 1000"
    ):
        running.push(spoilt)
    assert_same(stream(signal, []), windows + running.push(signal[1000:]) + running.flush())


@pytest.mark.parametrize(
    ("samples", "error"),
    [([1e300], DataError), ([[1.0]], ShapeMismatch), (["a"], DTypeMismatch), ([1j], DTypeMismatch)],
)
def test_bad_samples_are_refused(samples: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^signal"):
        Pipeline(SIGNAL_STEPS).stream(360).push(samples)


def test_stream_of_window_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="a signal needs step 'beats'"):
        Pipeline([Step("minmax")]).stream(360)


@pytest.mark.parametrize("peaks", [[5, 4], [-1], [7200]])
def test_peaks_outside_the_signal_or_falling_are_refused(make_ecg, peaks: list[int]) -> None:
    with pytest.raises(DataError, match="R peaks: expected rising samples within 0 to 7199"):
        Pipeline(KACHUEE).windows_at(make_ecg()[0], 360, peaks)


def test_signal_without_peaks_has_no_windows(make_ecg) -> None:
    assert [] == Pipeline(KACHUEE).windows_at(make_ecg()[0], 360, [])


def test_edge_loads_numpy_and_msgspec_only() -> None:
    """Importing the pipeline brings no package that a small device would miss memory for."""
    code = "import sys, headtail.preprocess.pipeline; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in run.stdout.split()} - sys.stdlib_module_names
    # msgspec takes typing_extensions along where it is installed.
    loaded = {name for name in loaded if not name.startswith("_")} - {"typing_extensions"}
    assert {"headtail", "msgspec", "numpy"} == loaded
