"""The stdin source: a JSON value a line, as lines arrive."""

import json
import os
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.intake import Intake
from edge_agent.sources.stdin import StdinSource
from edge_agent.stop import Stop
from headtail.bundle.manifest import Step
from headtail.errors import DataError, HeadtailError
from headtail.tensor import TensorSpec

WINDOW = np.arange(32.0).reshape(16, 2).tolist()


@pytest.fixture
def stop():
    """Return what ends a run."""
    stop = Stop()
    yield stop
    stop.close()


@pytest.fixture
def feed(intake, stop, take):
    """Return a function that feeds bytes through a pipe and returns the frames."""

    def frames(data: bytes, limit: int = 8):
        read, write = os.pipe()

        def write_all():
            with os.fdopen(write, "wb") as file:
                file.write(data)

        writer = threading.Thread(target=write_all)
        writer.start()
        try:
            return take(StdinSource(read, intake, stop), limit)
        finally:
            os.close(read)
            writer.join()

    return frames


@pytest.mark.parametrize("value", [WINDOW, {"x": WINDOW}, {"x": WINDOW, "y": None}])
def test_array_or_object_is_a_window(feed, value):
    (frame,) = feed(json.dumps(value).encode() + b"\n")
    assert WINDOW == frame.tensors["x"].tolist()
    assert (1, None) == (frame.sample, frame.truth)


def test_sample_is_the_line_number_and_empty_lines_are_left_out(feed):
    line = json.dumps({"x": WINDOW, "y": 2}).encode()
    frames = feed(b"\n" + line + b"\r\n\n" + line)  # the last line has no end
    assert [2, 4] == [frame.sample for frame in frames]
    assert [2, 2] == [frame.truth for frame in frames]


@dataclass(frozen=True)
class Flat:
    """What an intake asks of the manifest of a model that takes one row of numbers."""

    inputs: tuple[TensorSpec, ...]
    preprocess: tuple[Step, ...] = ()
    is_batchable: bool = True


def flat(count: int, dtype: str = "float32") -> Intake:
    """Return the intake of a model that takes rows of so many numbers."""
    return Intake(Flat((TensorSpec("x", dtype, (-1, count)),)))


NUMBERS = st.floats(-1e38, 1e38) | st.integers(-(1 << 40), 1 << 40) | st.booleans()


@given(st.lists(NUMBERS, min_size=1))
def test_row_of_numbers_becomes_what_the_long_way_makes_of_it(values):
    intake = flat(len(values))
    expected = intake.prepare({"x": np.asarray(values)}, "row")["x"]
    actual = intake.accept_numbers(values)["x"]
    assert np.float32 == actual.dtype
    assert expected.tobytes() == actual.tobytes()


@pytest.mark.parametrize(
    "values",
    [[1, 2], [1, 2, 3, 4], [1, 2, "3"], [1, 2, None], [1, 2, [3]], [1, 2, 1e39], [1, 2, 10**400]],
)
def test_what_is_no_row_of_so_many_floats_goes_the_long_way(values):
    assert flat(3).accept_numbers(values) is None


def test_model_of_whole_numbers_or_of_rows_takes_no_short_way(intake, fixed_intake):
    assert flat(3, "int64").accept_numbers([1, 2, 3]) is None
    assert intake.accept_numbers(WINDOW) is None
    assert fixed_intake.accept_numbers([0.0] * 8) is None


def test_row_too_large_for_float32_is_refused_with_its_place(stop, take):
    read, write = os.pipe()
    os.write(write, b"[1, 2, 3]\n[1, 2, 1e39]\n")
    os.close(write)
    try:
        with pytest.raises(HeadtailError, match="stdin line 2"):
            take(StdinSource(read, flat(3), stop), 1)
    finally:
        os.close(read)


def test_many_lines_come_in_batches(feed):
    """More than one read of the pipe, and lines cut anywhere."""
    frames = feed((json.dumps(WINDOW).encode() + b"\n") * 500, limit=7)
    assert 500 == len(frames)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "stdin line 1: no JSON"),
        (b"[1, NaN]", "stdin line 1: no JSON"),
        (b"[" * 5000, "stdin line 1: no JSON"),
        (b'"text"', "stdin line 1 'x': expected an array of numbers"),
        (b"[[1, 2], [3]]", "stdin line 1 'x': expected an array of numbers with equal rows"),
        (b"[1, null]", "stdin line 1 'x': expected an array of numbers"),
        (b'{"z": [1]}', "stdin line 1: array 'x' is missing; found z"),
        (b'{"x": [1], "y": "n"}', "stdin line 1: 'y' must be the index of a label"),
        (b"[1, 2, 3]", r"stdin line 1 'x': expected shape \(16, 2\), received \(3\)"),
        (b"7", "stdin line 1: window: expected shape"),
    ],
)
def test_wrong_line_is_named(feed, line, reason):
    with pytest.raises(HeadtailError, match=reason):
        feed(line + b"\n")


def test_line_without_end_is_bounded(feed, monkeypatch):
    monkeypatch.setattr("edge_agent.sources.stdin.MAX_LINE_BYTES", 1000)
    with pytest.raises(DataError, match="stdin line 1: over 1000 bytes"):
        feed(b"[" + b"1," * 2000)


def test_stop_ends_the_wait_for_a_line(intake, stop, take):
    read, write = os.pipe()
    timer = threading.Timer(0.02, stop.set)
    timer.start()
    assert [] == take(StdinSource(read, intake, stop))
    timer.join()
    os.close(read)
    os.close(write)
