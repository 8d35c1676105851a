"""What lies on the disk is every worker's: a rollout told to one, and a sample drawn by all."""

import sqlite3

import grpc
import numpy as np
import pytest
from captured_windows import kept
from operating import Operator

from headtail.inference.grpc_service_pb2 import ModelInferResponse
from headtail.oip import RAW_INPUT_FIELD, InferWriter
from headtail.tensor import TensorSpec

TIMEOUT_S = 30.0
CONNECTIONS = 12


def infer(channel: grpc.Channel, version: str, value: float) -> str:
    """Send a window to a version of `chain`; return the version that answered."""
    x = np.full((1, 16, 2), value, np.float32)
    writer = InferWriter("chain", version, [TensorSpec("x", "float32", x.shape)], RAW_INPUT_FIELD)
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    data = call(writer.write("1", {}, [x]), timeout=TIMEOUT_S)
    return ModelInferResponse.FromString(data).model_version


@pytest.fixture(scope="module")
def first(write_test_bundle, tmp_path_factory):
    """A folder with one bundle; two workers find it together."""
    return write_test_bundle(tmp_path_factory.mktemp("shared"), version="1.0.0")


@pytest.fixture(scope="module")
def workers(start_workers, first):
    """Return two that look after a rollout and keep every input, once each."""
    text = "[rollout]\nenabled = true\npoll_s = 0.1\n[capture]\nenabled = true\nratio = 1.0\n"
    config = first.parent / "fog.toml"
    config.write_text(text)
    return start_workers(first.parent, "--config", str(config))


@pytest.fixture(scope="module")
def operators(workers):
    """Return callers over connections of their own: each worker has some."""
    callers = [Operator(workers.address) for _ in range(CONNECTIONS)]
    yield callers
    for caller in callers:
        caller.channel.close()


def test_both_workers_found_the_folder_once(workers, first, wait_until):
    """The first-run record, by whichever came first: one bundle, active, one publication."""
    database = first.parent / "rollout" / "rollout.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        (generation,) = connection.execute("SELECT generation FROM models").fetchone()
    connection.close()
    assert 2 == generation  # found, and made active
    active = {"model": "chain", "state": "active"}
    wait_until(lambda: workers.value("fog_rollout_bundles", **active) == 1)


def test_what_one_worker_is_told_all_serve_at_once(
    workers, operators, write_test_bundle, tmp_path, wait_until
):
    """Published and promoted over one connection; asked for by its version over all the others."""
    one, *others = operators
    changes = "fog_rollout_changes_total"
    promoted = {"model": "chain", "action": "promote", "by": "operator"}
    assert 0 == workers.value(changes, **promoted)
    one.publish(write_test_bundle(tmp_path, version="2.0.0"))
    assert all(caller.states()["2.0.0"] == "candidate" for caller in others)
    one.promote("2.0.0")
    for caller in others:
        assert "2.0.0" == infer(caller.channel, "2.0.0", 0.5)
        assert "2.0.0" == caller.report("agent-1").version
    wait_until(lambda: all(infer(c.channel, "", 0.5) == "2.0.0" for c in others))
    wait_until(lambda: workers.value("fog_rollout_generation", model="chain") == 4)
    wait_until(lambda: workers.value(changes, **promoted) == 1)
    infos = [dict(key[1])["version"] for key in workers.samples() if key[0] == "fog_bundle_info"]
    assert {"1.0.0", "2.0.0"} == set(infos)


def test_workers_draw_one_sample(operators, workers, first, wait_until):
    """Every window is offered by whichever worker ran it; each that is stored is there once."""
    drawn = "fog_captured_windows_total"
    stored = {"model": "chain", "outcome": "stored"}
    infer(operators[0].channel, "", 0.5)  # known already, from the test before or not
    for number in range(40):
        infer(operators[number % CONNECTIONS].channel, "", 1.0 + number)
    wait_until(lambda: len(kept(first.parent / "capture")) == 41)
    wait_until(lambda: workers.value(drawn, **stored) == 41)
    wait_until(lambda: workers.value("fog_capture_windows", model="chain") == 41)
