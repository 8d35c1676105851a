"""The model repository: its index, loading and unloading."""

import shutil

import grpc
import numpy as np
import pytest
from tls_site import EDGE, OPERATOR, Site

from fog_server.config import Rollout
from fog_server.repository import FolderRepository
from fog_server.server import FogServer
from fog_server.store import load_store
from headtail.errors import BundleOutdated, ModelNotFound, SelfTestFailed
from headtail.inference import grpc_service_pb2 as oip
from headtail.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from headtail.segment import SessionOptions
from headtail.v1 import control_pb2
from headtail.v1.control_pb2_grpc import ControlStub

Status = grpc.StatusCode
READY, UNAVAILABLE = "READY", "UNAVAILABLE"


@pytest.fixture
def folder(write_test_bundle, tmp_path):
    """Return a folder with one bundle, which the test may change."""
    write_test_bundle(tmp_path, "chain", version="1.9.0")
    return tmp_path


@pytest.fixture
def server(start_fog, folder):
    """Return a server of that folder."""
    return start_fog(bundles=str(folder))


@pytest.fixture
def stub(server, connect):
    """Return the generated client."""
    return GRPCInferenceServiceStub(connect(server).channel)


def load(stub, name, **keys):
    """Ask for a model to be loaded."""
    stub.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name=name, **keys), timeout=20)


def unload(stub, name, **keys):
    """Ask for a model to be unloaded."""
    request = oip.RepositoryModelUnloadRequest(model_name=name, **keys)
    stub.RepositoryModelUnload(request, timeout=20)


def index(stub, is_ready=False, prefix="chain"):
    """Return the index as (name, version): (state, reason)."""
    found = stub.RepositoryIndex(oip.RepositoryIndexRequest(ready=is_ready)).models
    return {(m.name, m.version): (m.state, m.reason) for m in found if m.name.startswith(prefix)}


def refusal(call):
    """Return the status and text that a call ends with."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


def test_index_lists_every_tail_and_what_lies_there_beside(stub, folder, write_test_bundle):
    """A bundle put there later, and a file that is none."""
    write_test_bundle(folder, "fixed", version="3")
    (folder / "broken-1.bundle").write_bytes(b"no zip")
    found = index(stub, prefix="")
    assert found["chain", "1.9.0"] == found["chain-tail2-int4", "1.9.0"] == (READY, "")
    assert found["fixed", "3"] == (UNAVAILABLE, "not loaded")
    state, reason = found["broken-1", ""]
    assert state == UNAVAILABLE
    assert "no readable zip file" in reason
    assert {READY} == {state for state, _ in index(stub, is_ready=True, prefix="").values()}


def test_load_serves_what_was_put_there_since(stub, folder, write_test_bundle, windows):
    """A newer version is the one that an empty version means; agents are told of it."""
    write_test_bundle(folder, "chain", version="1.10.0")
    request = oip.ModelReadyRequest(name="chain", version="1.10.0")
    assert not stub.ModelReady(request).ready
    load(stub, "chain")
    assert stub.ModelReady(request).ready
    metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name="chain-tail1-int8"))
    assert ["1.9.0", "1.10.0"] == metadata.versions


def test_agents_hear_of_what_is_loaded(server, connect, folder, write_test_bundle):
    control = ControlStub(connect(server).channel)
    told = control.WatchDirectives(control_pb2.AgentStatus(agent="a", name="chain"), timeout=20)
    assert "1.9.0" == next(told).version
    write_test_bundle(folder, "chain", version="1.10.0")
    load(GRPCInferenceServiceStub(connect(server).channel), "chain")
    assert "1.10.0" == next(told).version
    told.cancel()


def test_what_has_not_changed_is_not_loaded_again(folder, trust):
    """Nor is anybody who runs on it disturbed."""
    options = SessionOptions()
    store = load_store(folder, trust, options)
    repository = FolderRepository(store, folder, trust, options, allow_older=False)
    before = store.tail("chain")
    repository.load("chain")
    assert before is store.tail("chain")


def test_unloaded_model_is_away_until_it_is_loaded(stub, connect, server, windows):
    """All its tails go and come with it."""
    client = connect(server)
    before = client.output(client.infer("chain", {"x": windows}))
    unload(stub, "chain", parameters={"unload_dependents": {"bool_param": True}})
    assert Status.NOT_FOUND is refusal(lambda: client.infer("chain", {"x": windows}))[0]
    assert index(stub) == {("chain", "1.9.0"): (UNAVAILABLE, "not loaded")}
    load(stub, "chain")
    np.testing.assert_array_equal(before, client.output(client.infer("chain", {"x": windows})))


def test_one_that_fails_its_self_test_changes_nothing(stub, folder, write_test_bundle):
    write_test_bundle(folder, "chain", version="1.10.0", corrupt=True)
    status, text = refusal(lambda: load(stub, "chain"))
    assert Status.FAILED_PRECONDITION is status
    assert "chain 1.10.0" in text
    assert stub.ModelReady(oip.ModelReadyRequest(name="chain", version="1.9.0")).ready


def test_older_than_one_that_was_served_is_not_loaded(folder, trust, write_test_bundle):
    """The record of the newest version holds while the server runs, too."""
    newer = write_test_bundle(folder, "chain", version="1.10.0")
    options = SessionOptions()
    repository = FolderRepository(
        load_store(folder, trust, options), folder, trust, options, allow_older=False
    )
    newer.unlink()
    with pytest.raises(BundleOutdated):
        repository.load("chain")


def test_damaged_file_is_named(folder, trust, write_test_bundle):
    """Rather than that there is no such model."""
    options = SessionOptions()
    store = load_store(folder, trust, options)
    repository = FolderRepository(store, folder, trust, options, allow_older=False)
    write_test_bundle(folder, "fixed", version="1", corrupt=True)
    with pytest.raises(SelfTestFailed):
        repository.load("fixed")
    with pytest.raises(ModelNotFound):
        repository.load("nobody")


@pytest.mark.parametrize("call", [load, unload])
@pytest.mark.parametrize(
    ("name", "keys", "status", "text"),
    [
        ("nobody", {}, Status.NOT_FOUND, "model 'nobody': not served here"),
        ("chain-tail2-int8", {}, Status.FAILED_PRECONDITION, "ask for 'chain'"),
        ("chain", {"repository_name": "r"}, Status.INVALID_ARGUMENT, "expected none"),
        ("chain", {"parameters": {"config": {"string_param": "{}"}}}, Status.INVALID_ARGUMENT,
         "a bundle is served as it was signed"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(call, name, keys, status, text, stub):
    got, details = refusal(lambda: call(stub, name, **keys))
    assert status is got
    assert text in details
    assert stub.ModelReady(oip.ModelReadyRequest(name="chain")).ready


def test_under_a_rollout_its_states_rule(make_config, folder, connect):
    """The index lists what is served; changing it is the rollout's."""
    settings = make_config(bundles=str(folder))
    config = type(settings)(
        **{f: getattr(settings, f) for f in settings.__struct_fields__ if f != "rollout"},
        rollout=Rollout(enabled=True),
    )
    server = FogServer(config)
    try:
        stub = GRPCInferenceServiceStub(connect(server).channel)
        assert (READY, "") == index(stub)["chain", "1.9.0"]
        for call in (load, unload):
            status, text = refusal(lambda call=call: call(stub, "chain"))
            assert Status.FAILED_PRECONDITION is status
            assert "publish, canary, promote" in text
    finally:
        server.drain()


def test_one_of_several_workers_changes_nothing(start_fog, folder, connect):
    """The others would go on as before."""
    stub = GRPCInferenceServiceStub(connect(start_fog(bundles=str(folder), workers=2)).channel)
    assert (READY, "") == index(stub)["chain", "1.9.0"]
    for call in (load, unload):
        status, text = refusal(lambda call=call: call(stub, "chain"))
        assert Status.FAILED_PRECONDITION is status
        assert "several processes serve on this port" in text


def test_only_operators_load_and_unload(listed: Site):
    """An agent may look; the bundles stay where they are."""
    with listed.channel(listed.certificate(EDGE)) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert (READY, "") == index(stub)["chain", "1.0.0"]
        for call in (load, unload):
            status, _ = refusal(lambda call=call: call(stub, "chain"))
            assert Status.PERMISSION_DENIED is status
    with listed.channel(listed.certificate(OPERATOR)) as channel:
        load(GRPCInferenceServiceStub(channel), "chain")


def test_moved_file_is_read_anew(folder, trust):
    """Its content is served as before."""
    options = SessionOptions()
    store = load_store(folder, trust, options)
    repository = FolderRepository(store, folder, trust, options, allow_older=False)
    shutil.move(folder / "chain-1.9.0.bundle", folder / "other.bundle")
    repository.load("chain")
    assert ["other.bundle"] == [b.path.name for b in store.bundles]
