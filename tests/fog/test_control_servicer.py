"""The control service through its generated client."""

import hashlib

import grpc
import pytest

from fog_server.control_servicer import CHUNK_BYTES
from headtail.bundle import read_bundle
from headtail.v1 import control_pb2, control_pb2_grpc


@pytest.fixture
def stub(client):
    """Return the generated client."""
    return control_pb2_grpc.ControlStub(client.channel)


def test_bundles_are_listed_with_digest_and_size(stub, bundle_folder, trust):
    """Sorted by name, then version."""
    listed = stub.ListBundles(control_pb2.ListBundlesRequest()).bundles
    assert [("chain", "1.9.0"), ("chain", "1.10.0"), ("fixed", "1.0.0")] == [
        (b.name, b.version) for b in listed
    ]
    for info in listed:
        path = bundle_folder / f"{info.name}-{info.version}.bundle"
        assert read_bundle(path, trust).digest == info.digest
        assert path.stat().st_size == info.size_bytes


@pytest.mark.parametrize(("version", "expected"), [("", "1.10.0"), ("1.9.0", "1.9.0")])
def test_fetched_bundle_is_the_file(version, expected, stub, bundle_folder):
    """First what it is, then its bytes."""
    first, *rest = stub.FetchBundle(control_pb2.FetchBundleRequest(name="chain", version=version))
    content = b"".join(part.chunk for part in rest)
    assert expected == first.bundle.version
    assert first.bundle.size_bytes == len(content)
    path = bundle_folder / f"chain-{expected}.bundle"
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
    assert all(0 < len(part.chunk) <= CHUNK_BYTES for part in rest)


def test_bundle_larger_than_a_chunk_arrives_whole(stub, monkeypatch, bundle_folder):
    """The chunks are cut at their size, the last one is what is left."""
    monkeypatch.setattr("fog_server.control_servicer.CHUNK_BYTES", 1000)
    _, *rest = stub.FetchBundle(control_pb2.FetchBundleRequest(name="fixed"))
    expected = (bundle_folder / "fixed-1.0.0.bundle").read_bytes()
    assert expected == b"".join(part.chunk for part in rest)
    assert [1000] * (len(expected) // 1000) == [len(part.chunk) for part in rest[:-1]]


def test_unknown_bundle_is_not_found(stub):
    """The status names what there is."""
    with pytest.raises(grpc.RpcError) as error:
        list(stub.FetchBundle(control_pb2.FetchBundleRequest(name="nobody")))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "served: chain 1.9.0" in error.value.details()
