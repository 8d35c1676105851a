"""An unchanged `tritonclient` operates our fog: configuration, figures, repository, streams."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from proto_fields import fields_of

from environments import Unavailable, environment
from fog_server.server import FogServer
from headtail.bundle import read_bundle
from headtail.inference import grpc_service_pb2, model_config_pb2
from headtail.segment import Chain

HERE = Path(__file__).parent
MODEL = "chain-tail2-float32"


@pytest.fixture(scope="module")
def report(write_test_bundle, make_config, trust, tmp_path_factory):
    """Return what tritonclient got of a server of its own, and what it should have got."""
    try:
        python = environment("tritonclient", HERE / "tritonclient-requirements.txt")
    except Unavailable as reason:
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("operated")
    for name, version in (("chain", "1.9.0"), ("chain", "1.10.0"), ("fixed", "1.0.0")):
        write_test_bundle(folder, name, version=version)
    bundle = read_bundle(folder / "chain-1.10.0.bundle", trust)
    np.savez(folder / "inputs.npz", **Chain(bundle).head(bundle.samples.inputs, 2))
    server = FogServer(make_config(bundles=str(folder)))
    try:
        done = subprocess.run(
            [python, HERE / "triton_operate.py", server.address, folder / "inputs.npz"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    finally:
        server.drain()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"expected": bundle.samples.outputs["y"]}


def test_every_field_of_ours_is_tritons(report):
    """By number, type and repetition; Triton has more."""
    theirs = report["fields"]
    for message, fields in fields_of(grpc_service_pb2, model_config_pb2).items():
        assert fields == {name: theirs[message].get(name) for name in fields}, message


@pytest.mark.parametrize("way", ["async", "urgent", "asyncio"])
def test_every_call_gives_the_tails_answer(way, report):
    """With a callback, with priority, timeout and deadline, and by asyncio."""
    np.testing.assert_allclose(report["expected"], report[way], rtol=0, atol=1e-6)
    assert ("None", "1.9.0") == (report["async_error"], report["async_version"])


def test_errors_have_their_status(report):
    assert report["worthless"].startswith("StatusCode.DEADLINE_EXCEEDED")
    assert report["output"].startswith("StatusCode.INVALID_ARGUMENT: model 'chain-tail2-float32'")
    assert report["classes"].startswith("StatusCode.INVALID_ARGUMENT: output 'y' parameter 'class")
    assert report["unknown"].startswith("StatusCode.NOT_FOUND: model 'nobody'")


def test_stream_goes_on_after_an_error_and_says_what_is_last_where_asked(report):
    first, refused, last = report["stream"]
    assert (["s1", None], ["s3", True]) == (first, last)
    assert "model 'nobody': not served here" in refused[1]
    assert ["t"] == report["asyncio_stream"]


def test_configuration_is_that_of_the_tail(report):
    config = report["config"]
    assert (MODEL, "onnxruntime_onnx", "onnxruntime", 256) == (
        config["name"], config["platform"], config["backend"], config["max_batch_size"]
    )  # fmt: skip
    assert [("a", "TYPE_FP32", ["4", "8"]), ("b", "TYPE_FP32", ["6", "4"])] == [
        (t["name"], t["data_type"], t["dims"]) for t in config["input"]
    ]
    assert [{"name": "y", "data_type": "TYPE_FP32", "dims": ["3"]}] == config["output"]
    assert {"all": {}} == config["version_policy"]
    assert "1.10.0" == config["parameters"]["version"]["string_value"]


def test_model_without_a_batch_axis_has_its_whole_shape(report):
    config = report["fixed"]
    assert "max_batch_size" not in config
    assert [["8"], ["1"]] == [t["dims"] for t in config["input"]]


def test_figures_count_windows_by_version(report):
    """1.9.0 answered one request of four windows."""
    counted = {m["version"]: m for m in report["statistics"]}
    assert {"1.9.0", "1.10.0"} == set(counted)
    assert ("4", "1") == (counted["1.9.0"]["inference_count"], counted["1.9.0"]["execution_count"])
    stats = counted["1.9.0"]["inference_stats"]
    assert "1" == stats["success"]["count"] == stats["compute_infer"]["count"]
    assert int(stats["compute_infer"]["ns"]) > 0
    assert int(counted["1.10.0"]["inference_stats"]["fail"]["count"]) >= 2


def test_repository_is_listed_unloaded_and_loaded(report):
    index = {(m["name"], m["version"]): m["state"] for m in report["index"]}
    assert {"READY"} == set(index.values())
    assert {("chain", "1.9.0"), (MODEL, "1.10.0"), ("fixed-tail1-int4", "1.0.0")} <= index.keys()
    assert [True, False, True] == report["ready"]
    assert report["lost"].startswith("StatusCode.NOT_FOUND")
    assert all("inference_count" not in m for m in report["after"])
    assert report["tail"].startswith("StatusCode.FAILED_PRECONDITION")
    assert report["override"].startswith("StatusCode.INVALID_ARGUMENT: parameter 'config'")


def test_what_is_not_there_is_unimplemented(report):
    """Shared memory, trace and log settings; the extensions do not claim them."""
    assert {"StatusCode.UNIMPLEMENTED: Method not found!"} == set(report["foreign"])
    named = {"model_configuration", "statistics", "model_repository", "parameters"}
    assert named <= set(report["extensions"])
    assert not {"trace", "logging", "system_shared_memory"} & set(report["extensions"])
