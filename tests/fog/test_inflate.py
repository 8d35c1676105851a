"""Requests whose tensors are deflated, through the real server: the same answers, no bombs."""

import tracemalloc
import zlib

import grpc
import numpy as np
import pytest

from fog_server.inflate import MAX_BYTES, inflate
from headtail.bundle import read_bundle
from headtail.compression import compress
from headtail.errors import TensorInvalid
from headtail.inference.grpc_service_pb2 import ModelInferRequest
from headtail.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from headtail.oip import Tensor
from headtail.segment import Chain
from headtail.tensor import OIP_DATATYPES, TensorSpec
from headtail.wire import Encoding, encode


@pytest.fixture(scope="module")
def chain(bundle_folder, trust):
    """Return the three-segment bundle and its chain."""
    bundle = read_bundle(bundle_folder / "chain-1.10.0.bundle", trust)
    return bundle, Chain(bundle)


def deflated(model, arrays, compression="deflate", shape=None, press=compress):
    """Return a request with each array as a zlib stream, as a client of its own would make it."""
    request = ModelInferRequest(model_name=model)
    if compression:
        request.parameters["compression"].string_param = compression
    for name, array in arrays.items():
        datatype = OIP_DATATYPES[array.dtype.name]
        request.inputs.add(name=name, datatype=datatype, shape=shape or array.shape)
        request.raw_input_contents.append(press(array.tobytes()))
    return request


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("index", range(3))
def test_a_deflated_activation_gives_the_answer_of_a_plain_one(encoding, index, chain, client):
    """Unary and on the stream, one tensor and two."""
    bundle, segments = chain
    point = bundle.manifest.points[index]
    wire, known = point.wire(encoding), segments.head(bundle.samples.inputs, index)
    sent = {
        s.name: encode(known[s.name], encoding, wire.affine.get(s.name), s.is_batchable)
        for s in point.activation
    }
    name = bundle.manifest.tail_name(index, encoding)
    expected = client.output(client.infer(name, sent))

    request = deflated(name, sent)
    unary = GRPCInferenceServiceStub(client.channel).ModelInfer(request, timeout=20)
    (streamed,) = client.stream([request.SerializeToString()])

    assert np.array_equal(
        expected, np.frombuffer(unary.raw_output_contents[0], "<f4").reshape(expected.shape)
    )
    assert np.array_equal(expected, client.output(streamed))


X = np.ones((2, 16, 2), np.float32)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (deflated("chain", {"x": X}, "gzip"), "'compression': .*expected deflate"),
        (deflated("chain", {"x": X}, press=bytes), "expected 256 bytes deflated"),
        (deflated("chain", {"x": X}, ""), "tensor 'x': expected 256 bytes, received"),
        (
            deflated("chain", {"x": X}, press=lambda b: compress(b)[:-5]),
            "tensor 'x': expected 256 bytes deflated, received a stream that breaks off",
        ),
        (
            deflated("chain", {"x": X}, press=lambda b: compress(b) + b"more"),
            "tensor 'x': expected nothing behind the deflated bytes, received 4 bytes",
        ),
        (
            deflated("chain", {"x": X}, press=lambda _: zlib.compress(bytes(1 << 24), 9)),
            "tensor 'x': expected 256 bytes once inflated, received more",
        ),
        (deflated("chain", {"x": X[:1]}, shape=(2, 16, 2)), "received 128 bytes"),
        (deflated("chain", {"x": X[:1]}, shape=(257, 16, 2)), "at most 256 windows a request"),
        (deflated("chain", {"x": X[:1]}, shape=(1, 32, 1)), r"expected shape \(any, 16, 2\)"),
        (deflated("chain", {"x": X[:1]}, shape=(-1, 16, 2)), r"received \(any, 16, 2\)"),
        (deflated("chain", {"x": X * np.float32(np.nan)}), "expected finite values"),
    ],
    ids=[
        "another compression",
        "not deflated",
        "deflated unasked",
        "broken off",
        "trailing bytes",
        "a bomb",
        "too short",
        "too many windows",
        "another shape",
        "a negative axis",
        "not finite",
    ],
)
def test_hostile_bodies_are_refused_and_the_stream_goes_on(request_, message, client):
    """Each as its request's error, with the words of what was expected."""
    with pytest.raises(grpc.RpcError, match=message) as caught:
        GRPCInferenceServiceStub(client.channel).ModelInfer(request_, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    good = deflated("chain", {"x": X}).SerializeToString()
    bad, answer = client.stream_in_turn([request_.SerializeToString(), good])
    assert (True, "") == (bool(bad.error), answer.error)


def test_bytes_are_counted_as_they_travel(fog, client):
    many = np.zeros((200, 16, 2), np.float32)
    request = deflated("chain", {"x": many}).SerializeToString()
    name, labels = "fog_wire_bytes_total", {"direction": "in"}
    before = fog.metrics.registry.get_sample_value(name, labels)
    client.stream([request])
    received = fog.metrics.registry.get_sample_value(name, labels) - before
    assert received == len(request) < many.nbytes / 10


def test_a_parameter_of_another_kind_is_refused(client):
    with pytest.raises(grpc.RpcError, match="expected deflate, received 'True'"):
        client.infer("chain", {"x": X}, compression=True)


def test_sizes_that_add_up_to_too_much_are_refused_before_a_byte_is_inflated():
    """Where axes are open a shape may say anything."""
    spec = TensorSpec("x", "float32", (1, -1, 8))
    bomb = zlib.compress(bytes(8 << 20), 9)
    shape = (1, (MAX_BYTES >> 5) // 2 + 1, 8)
    tensors = [Tensor("x", "FP32", shape, bomb)] * 2
    tracemalloc.start()
    with pytest.raises(TensorInvalid, match=f"at most {MAX_BYTES} bytes once inflated"):
        inflate(tensors, [spec, spec], 256, "m")
    with pytest.raises(TensorInvalid, match=f"at most {MAX_BYTES} bytes once inflated"):
        inflate([Tensor("x", "FP32", (1, 1 << 60, 8), bomb)], [spec], 256, "m")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
