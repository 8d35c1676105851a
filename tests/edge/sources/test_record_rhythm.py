"""The recipe with R-R figures: the edge streams the windows that training cuts."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.sources.intake import Intake
from edge_agent.sources.record import RecordSource
from headtail.bundle import Manifest
from headtail.bundle.manifest import Step
from headtail.preprocess.pipeline import Pipeline

pytest.importorskip("wfdb", reason="needs the optimizer's extra")
RECIPE = Path(__file__).parents[3] / "recipes" / "mitbih-inter-patient.toml"


@pytest.mark.parametrize("speed", [None, 1.0])
def test_stream_of_a_record_gives_the_windows_of_training(
    ecg: Manifest, tmp_path: Path, take, speed: float | None
) -> None:
    """A WFDB record through the agent's source equals wfdb's reading cut at the same R peaks."""
    from optimizer.data.mitbih import read_record
    from optimizer.data.record import write_record
    from optimizer.data.synthetic import make_record
    from optimizer.recipe.recipe import read_recipe

    # The test model takes 32 values as (16, 2): 16 of the beat and the recipe's 16 of the rhythm.
    data = read_recipe(RECIPE).data
    beats = msgspec.structs.replace(data.beats, length=16, before_s=0.1)
    steps = msgspec.structs.replace(data, beats=beats).steps
    reshape = Step("reshape", {"shape": [16, 2]})
    write_record(tmp_path, "100", make_record(60.0, np.random.default_rng(5)))
    manifest = msgspec.structs.replace(ecg, preprocess=(*steps, reshape))
    source = RecordSource(
        tmp_path / "100", Intake(manifest), speed, clock=lambda: 0.0, wait=lambda _: False
    )
    frames = take(source)
    record = read_record(tmp_path, "100")
    raw = Pipeline(steps).windows_at(record.signal, record.rate_hz, [f.sample for f in frames])
    # What training stacks and test.npz holds: raw windows, then the window steps.
    window_steps = Pipeline([reshape])
    expected = [window_steps.window(window.values) for window in raw]
    assert len(frames) > 40
    assert [w.tobytes() for w in expected] == [f.tensors["x"].tobytes() for f in frames]
    # Sixteen samples of R-R at the end, and they tell the beats apart.
    tails = {f.tensors["x"][8:].tobytes() for f in frames}
    assert len(tails) > len(frames) / 2
