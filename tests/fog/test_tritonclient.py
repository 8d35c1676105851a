"""A plain `tritonclient`, knowing nothing of us, gets the tail's answer."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from environments import Unavailable, environment
from headtail.bundle import read_bundle
from headtail.segment import Chain

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "tritonclient-requirements.txt"


@pytest.fixture(scope="module")
def triton_python() -> Path:
    """Return an interpreter with tritonclient, which is made once and kept.

    tritonclient wants protobuf below 7, and our stubs 7.35 or above.
    """
    try:
        return environment("tritonclient", REQUIREMENTS)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def called(triton_python, fog, bundle_folder, trust, tmp_path_factory):
    """Return what tritonclient got, and what it should have got."""
    bundle = read_bundle(bundle_folder / "chain-1.10.0.bundle", trust)
    activation = Chain(bundle).head(bundle.samples.inputs, 2)
    file = tmp_path_factory.mktemp("triton") / "inputs.npz"
    np.savez(file, **activation)
    done = subprocess.run(
        [triton_python, HERE / "triton_call.py", fog.address, file],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), bundle.samples.outputs["y"]


@pytest.mark.parametrize("way", ["unary", "wanted", "streamed"])
def test_tritonclient_gets_the_tails_answer(way, called):
    """By ModelInfer, with a requested output, and on the stream."""
    answer, expected = called
    assert np.allclose(expected, answer[way], rtol=0, atol=1e-6)


def test_tritonclient_sees_a_live_server_and_its_model(called):
    """Liveness, readiness and metadata, as it knows them."""
    answer, _ = called
    assert answer["is_live"]
    assert answer["is_ready"]
    assert answer["is_model_ready"]
    assert (answer["server"], answer["inputs"], answer["id"]) == ("headtail-fog", ["a", "b"], "t1")


def test_tritonclient_sees_the_error_of_its_request(called):
    """A status for the unary call, an error message on the stream."""
    answer, _ = called
    assert answer["refusal"].startswith("StatusCode.NOT_FOUND: model 'nobody': not served here")
    assert "model 'nobody': not served here" in answer["stream_refusal"]
