"""What makes frames of the test models."""

import pytest

from edge_agent.sources.frame import Frame, FrameSource
from edge_agent.sources.intake import Intake
from headtail.bundle import Bundle, Manifest, read_bundle


@pytest.fixture
def intake(bundle: Bundle) -> Intake:
    """Return the intake of the batchable model: float32 windows of (16, 2), no steps."""
    return Intake(bundle.manifest)


@pytest.fixture
def fixed_intake(fixed_path, trust) -> Intake:
    """Return the intake of the model that takes `x`, float32 (8,), and `gain`, int64 (1,)."""
    return Intake(read_bundle(fixed_path, trust).manifest)


@pytest.fixture
def ecg(ecg_path, trust) -> Manifest:
    """Return the manifest whose steps take a continuous ECG."""
    return read_bundle(ecg_path, trust).manifest


@pytest.fixture
def take():
    """Return a function that takes every frame of a source, and closes it."""

    def take_all(source: FrameSource, limit: int = 8) -> list[Frame]:
        frames = []
        try:
            for batch in source.batches(limit):
                assert 1 <= len(batch) <= limit
                frames += batch
        finally:
            source.close()
        assert list(range(len(frames))) == [frame.sequence for frame in frames]
        return frames

    return take_all
