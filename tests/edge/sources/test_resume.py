"""A source that goes on after any window yields the rest, the same, with the numbers asked for."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from edge_agent.sources.frame import BEGINNING, Frame, FrameSource, Start
from edge_agent.sources.images import ImagesSource
from edge_agent.sources.intake import Intake
from edge_agent.sources.npz import NpzSource
from edge_agent.sources.record import RecordSource
from edge_agent.sources.stdin import StdinSource
from edge_agent.stop import Stop
from headtail.bundle import read_bundle
from headtail.bundle.manifest import Step

RATE_HZ, SECONDS = 250, 20


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now_s = self.waited_s = 0.0

    def __call__(self) -> float:
        """Return seconds."""
        return self.now_s

    def wait(self, seconds: float) -> bool:
        """Sleep at once."""
        self.waited_s += max(0.0, seconds)
        self.now_s += max(0.0, seconds)
        return False


def frames(source: FrameSource, start: Start = BEGINNING, limit: int = 3) -> list[Frame]:
    """Return every frame from `start` on."""
    source.resume(start)
    try:
        return [frame for batch in source.batches(limit) for frame in batch]
    finally:
        source.close()


@pytest.fixture
def record_path(tmp_path):
    """Return a record of beats with noise, so that no two windows are alike."""
    counts = np.random.default_rng(1).normal(0, 3, RATE_HZ * SECONDS)
    for peak in range(RATE_HZ, len(counts) - RATE_HZ, int(0.7 * RATE_HZ)):
        counts[peak - 5 : peak + 6] += 220 * np.hanning(11)
    (tmp_path / "r.dat").write_bytes(counts.round().astype("<i2").tobytes())
    (tmp_path / "r.hea").write_text(f"r 1 {RATE_HZ} {len(counts)}\nr.dat 16 200 11 0 0 0 0 II\n")
    return tmp_path / "r"


@pytest.fixture
def opened(tmp_path, intake, ecg, bundle, rewrite, trust, record_path):
    """Return what opens each kind of source that is replayed."""
    rng = np.random.default_rng(2)
    np.savez(tmp_path / "a.npz", x=rng.standard_normal((23, 16, 2)), y=np.arange(23) % 3)
    for name in ("a/1", "a/2", "b/1", "b/2", "b/3", "c"):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).save(path)
    (tmp_path / "images" / "a" / "1x.png").write_bytes(b"no image")
    steps = (Step("resize", {"height": 4, "width": 4}), Step("reshape", {"shape": [48]}))
    steps += (Step("interpolate", {"length": 32}), Step("reshape", {"shape": [16, 2]}))
    other = read_bundle(rewrite(bundle, tmp_path, preprocess=steps), trust).manifest
    clock = Clock()
    return {
        "npz": lambda: NpzSource(tmp_path / "a.npz", intake),
        "images": lambda: ImagesSource(tmp_path / "images", Intake(other), other.labels),
        "wfdb": lambda: RecordSource(record_path, Intake(ecg), None, clock, clock.wait),
    }


@pytest.mark.parametrize("kind", ["npz", "images", "wfdb"])
def test_rest_is_the_same_after_any_window(opened, kind):
    whole = frames(opened[kind]())
    assert 5 <= len(whole)
    for i, last in enumerate(whole):
        rest = frames(opened[kind](), Start(100, last.sample, last.place), limit=1 + i % 4)
        expected = whole[i + 1 :]
        assert list(range(100, 100 + len(expected))) == [frame.sequence for frame in rest]
        for before, again in zip(expected, rest, strict=True):
            assert (before.sample, before.truth, before.place) == (
                again.sample, again.truth, again.place
            )  # fmt: skip
            assert all(np.array_equal(before.tensors[n], again.tensors[n]) for n in before.tensors)


def test_image_that_came_meanwhile_shifts_nothing(opened, tmp_path):
    """The position is a name: files that sort before it stay out, those after it come."""
    whole = frames(opened["images"]())
    last = whole[2]
    for name in ("a/0", "b/2x"):
        content = (tmp_path / "images" / "c.png").read_bytes()
        (tmp_path / "images" / f"{name}.png").write_bytes(content)
    rest = frames(opened["images"](), Start(3, last.sample, last.place))
    expected = [f.place for f in whole[3:]]
    expected.insert(expected.index("b/2.png") + 1, "b/2x.png")
    assert expected == [frame.place for frame in rest]


def test_record_does_not_wait_for_what_was_there_before(ecg, record_path):
    """At real time the samples up to the position go by at once, those after it at their pace."""
    whole = frames(RecordSource(record_path, Intake(ecg), None, Clock(), Clock().wait))
    last = whole[len(whole) // 2]
    clock = Clock()
    rest = frames(
        RecordSource(record_path, Intake(ecg), 1.0, clock, clock.wait), Start(0, last.sample)
    )
    assert [f.sample for f in whole if f.sample > last.sample] == [f.sample for f in rest]
    assert SECONDS - last.sample / RATE_HZ == pytest.approx(clock.waited_s, abs=0.2)


def test_identity_changes_with_the_content(opened, tmp_path, intake):
    before = opened["npz"]().identity
    assert before == opened["npz"]().identity
    np.savez(tmp_path / "a.npz", x=np.zeros((23, 16, 2)), y=np.arange(23) % 3)
    assert before != NpzSource(tmp_path / "a.npz", intake).identity


def test_stdin_counts_on(intake):
    read, write = os.pipe()
    os.write(write, json.dumps(np.zeros((16, 2)).tolist()).encode() + b"\n")
    os.close(write)
    stop = Stop()
    (frame,) = frames(StdinSource(read, intake, stop), Start(41))
    assert (41, 1) == (frame.sequence, frame.sample)
    os.close(read)
    stop.close()
