"""Liveness, readiness and metadata through the generated client."""

from importlib.metadata import version

import grpc
import pytest

from headtail.inference import grpc_service_pb2 as oip
from headtail.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub


@pytest.fixture
def stub(client):
    """Return the generated client."""
    return GRPCInferenceServiceStub(client.channel)


def test_server_is_live_and_ready(stub):
    """As soon as it listens."""
    assert stub.ServerLive(oip.ServerLiveRequest()).live
    assert stub.ServerReady(oip.ServerReadyRequest()).ready


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("chain", "", True),
        ("chain", "1.9.0", True),
        ("chain-tail1-int8", "", True),
        ("chain", "3", False),
        ("nobody", "", False),
    ],
)
def test_model_is_ready_if_it_is_served(name, wanted, expected, stub):
    """An unknown model is not ready, which is no error."""
    assert expected == stub.ModelReady(oip.ModelReadyRequest(name=name, version=wanted)).ready


def test_server_says_what_it_is_and_runs_on(stub):
    """The execution provider is what was really loaded."""
    metadata = stub.ServerMetadata(oip.ServerMetadataRequest())
    assert (metadata.name, metadata.version) == ("headtail-fog", version("headtail"))
    assert "execution_provider:CPUExecutionProvider" in metadata.extensions


@pytest.mark.parametrize(
    ("encoding", "inputs"),
    [
        ("int8", [("a", "INT8", [-1, 4, 8]), ("b", "INT8", [-1, 6, 4])]),
        ("int4", [("a", "UINT8", [-1, 16]), ("b", "UINT8", [-1, 12])]),
    ],
)
def test_model_metadata_describes_what_travels(encoding, inputs, stub):
    """An int8 tail takes INT8, an int4 tail packed bytes; -1 is the batch axis."""
    metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name=f"chain-tail2-{encoding}"))
    assert metadata.versions == ["1.9.0", "1.10.0"]
    assert inputs == [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs]
    assert [("y", "FP32", [-1, 3])] == [
        (t.name, t.datatype, list(t.shape)) for t in metadata.outputs
    ]


def test_metadata_of_an_unknown_model_is_not_found(stub):
    """Here it is an error, since there is nothing to answer."""
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelMetadata(oip.ModelMetadataRequest(name="nobody"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
