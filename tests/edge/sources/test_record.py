"""The record source: a paced stream of beats."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_agent.sources.intake import Intake
from edge_agent.sources.record import RecordSource
from headtail.errors import ConfigError, NotFinite

RATE_HZ, SECONDS = 360, 30


class FakeTime:
    """A clock that only waiting moves; `stop_at_s` is when the run is asked to stop."""

    def __init__(self, stop_at_s: float = np.inf) -> None:
        self.now_s = 100.0
        self.stop_at_s = 100.0 + stop_at_s
        self.waits: list[float] = []

    def clock(self) -> float:
        """Return seconds."""
        return self.now_s

    def wait(self, seconds: float) -> bool:
        """Sleep at once."""
        self.waits.append(seconds)
        self.now_s += max(0.0, seconds)
        return self.now_s >= self.stop_at_s


def beats(missing: int | None = None) -> np.ndarray:
    """Return counts of 30 s with a spike every 0.8 s; one sample may be marked missing."""
    counts = np.random.default_rng(1).normal(0, 2, RATE_HZ * SECONDS)
    for peak in range(RATE_HZ, len(counts) - RATE_HZ, int(0.8 * RATE_HZ)):
        counts[peak - 6 : peak + 7] += 220 * np.hanning(13)
    counts = counts.round().astype("<i2")
    if missing is not None:
        counts[missing] = -32768
    return counts


@pytest.fixture
def record(tmp_path):
    """Return a function that writes a record of one lead in format 16."""

    def write(**changes) -> Path:
        (tmp_path / "r1.dat").write_bytes(beats(**changes).tobytes())
        header = f"r1 1 {RATE_HZ} {RATE_HZ * SECONDS}\r\nr1.dat 16 200 11 0 0 0 0 MLII\r\n"
        (tmp_path / "r1.hea").write_text(header)
        return tmp_path / "r1"

    return write


@pytest.fixture
def open_record(ecg):
    """Return a function that opens a record with a fake time."""

    def open_at(path: Path, speed: float | None, time: FakeTime) -> RecordSource:
        return RecordSource(path, Intake(ecg), speed, time.clock, time.wait)

    return open_at


def test_beats_are_found_where_they_are(record, open_record, take):
    frames = take(open_record(record(), None, FakeTime()))
    expected = np.arange(RATE_HZ, RATE_HZ * (SECONDS - 1), int(0.8 * RATE_HZ))
    found = np.array([frame.sample for frame in frames])
    nearest = np.abs(expected[:, None] - found).min(axis=0)
    assert len(expected) - 2 <= len(found) <= len(expected)
    assert nearest.max() <= 0.05 * RATE_HZ
    assert {(16, 2)} == {frame.tensors["x"].shape for frame in frames}


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_pace_is_that_of_the_recorder(record, open_record, take, speed):
    """The waits add up to the record's length over the speed, and no sample comes early."""
    time = FakeTime()
    frames = take(open_record(record(), speed, time))
    assert abs(SECONDS / speed - sum(time.waits)) < 1e-6
    fast = take(open_record(record(), None, FakeTime()))
    assert [frame.sample for frame in fast] == [frame.sample for frame in frames]
    assert all(
        np.array_equal(a.tensors["x"], b.tensors["x"]) for a, b in zip(fast, frames, strict=True)
    )


def test_as_fast_as_possible_never_waits(record, open_record, take):
    time = FakeTime()
    take(open_record(record(), None, time))
    assert [] == time.waits


def test_stop_ends_the_record(record, open_record, take):
    time = FakeTime(stop_at_s=10.0)
    frames = take(open_record(record(), 1.0, time))
    assert 0 < len(frames) <= 13
    assert abs(10.0 - sum(time.waits)) < 0.2


def test_missing_sample_is_named(record, open_record, take):
    with pytest.raises(NotFinite, match=r"record r1 lead MLII sample 5000: .* received 1 NaN"):
        take(open_record(record(missing=5000), None, FakeTime()))


def test_bundle_without_signal_steps_is_refused(record, intake):
    time = FakeTime()
    with pytest.raises(ConfigError, match="a signal needs step 'beats'"):
        RecordSource(record(), intake, None, time.clock, time.wait)


@pytest.mark.data
def test_real_record_gives_its_beats(run_agent, ecg_path, real_data):
    """Record 114 has MLII second; its 1,879 beats come in order, all finished on the edge."""
    source = f"wfdb:{real_data('mitdb') / '114'}"
    lines = run_agent(bundle=str(ecg_path), source=source, speed="max", point="3")
    samples = [line["sample"] for line in lines]
    assert 1800 < len(samples) < 1960
    assert sorted(samples) == samples
    assert json.loads(run_agent.sink.read_text().splitlines()[-1]) == lines[-1]
