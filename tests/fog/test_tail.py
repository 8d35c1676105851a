"""Every tail the fog serves against the uncut model, and what a tail refuses."""

import itertools
import tracemalloc

import grpc
import numpy as np
import pytest

from fog_server.tail import tails
from headtail.bundle import read_bundle
from headtail.errors import TensorInvalid
from headtail.inference.grpc_service_pb2 import ModelInferRequest
from headtail.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from headtail.oip import Tensor
from headtail.segment import Chain
from headtail.tensor import OIP_DATATYPES
from headtail.wire import Encoding, decode, encode

# Largest difference relative to the largest output: float16 keeps 11 bits, int8 8, int4 4.
TOLERANCE = {"float32": 1e-6, "float16": 2e-3, "int8": 5e-2, "int4": 0.6}
SERVED = [("chain", k) for k in range(3)] + [("fixed", k) for k in range(2)]


@pytest.fixture(scope="module")
def bundles(bundle_folder, trust):
    """Return both test bundles with their segments, by name."""
    files = {"chain": "chain-1.10.0.bundle", "fixed": "fixed-1.0.0.bundle"}
    read = {name: read_bundle(bundle_folder / file, trust) for name, file in files.items()}
    return {name: (bundle, Chain(bundle)) for name, bundle in read.items()}


@pytest.mark.parametrize(("served", "encoding"), list(itertools.product(SERVED, Encoding)))
def test_every_tail_agrees_with_the_whole_model(served, encoding, bundles, client, whole):
    """Head here and tail in the fog give the whole model's answer, unary and on the stream."""
    model, index = served
    bundle, chain = bundles[model]
    manifest, inputs = bundle.manifest, bundle.samples.inputs
    activation = chain.head(inputs, index)
    point = manifest.points[index]
    wire = point.wire(encoding)
    sent = {
        s.name: encode(activation[s.name], encoding, wire.affine.get(s.name), s.is_batchable)
        for s in point.activation
    }
    name = manifest.tail_name(index, encoding)

    answer = client.infer(name, sent)
    streamed = client.stream([client.request(name, sent)] * 3)  # the first one's checks serve all

    assert (name, manifest.version) == (answer.model, answer.version)
    expected, scale = whole(model, inputs), np.abs(whole(model, inputs)).max()
    assert np.abs(expected - client.output(answer)).max() <= TOLERANCE[encoding] * scale
    arrived = {s.name: decode(sent[s.name], s, wire.affine.get(s.name)) for s in point.activation}
    exact = chain.tail(arrived, index)["y"]
    assert np.array_equal(exact, client.output(answer))
    assert 3 == len(streamed)
    for one in streamed:
        assert np.allclose(exact, client.output(one), rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("model", ["chain", "fixed"])
def test_whole_model_is_served_under_the_bundle_name(model, bundles, client, whole):
    """NAME takes the model's own inputs in float32."""
    inputs = bundles[model][0].samples.inputs
    received = client.output(client.infer(model, inputs))
    assert np.allclose(whole(model, inputs), received, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 64, 256])
def test_any_number_of_windows_up_to_max_batch(batch, client, whole, windows):
    """The first axis of a batchable model counts windows."""
    many = np.resize(windows, (batch, 16, 2))
    received = client.output(client.infer("chain", {"x": many}))
    assert np.allclose(whole("chain", {"x": many}), received, rtol=0, atol=1e-6)


X = np.zeros((1, 16, 2), np.float32)
NAN = np.full((1, 16, 2), np.nan, np.float32)
A, B = np.zeros((2, 4, 8), np.float32), np.zeros((3, 6, 4), np.float32)


@pytest.mark.parametrize(
    ("model", "arrays", "message"),
    [
        ("chain", {"x": X.astype(np.float64)}, "input 'x': expected float32, received float64"),
        (
            "chain",
            {"x": X[:, :15]},
            "tensor 'x': expected shape (any, 16, 2), received (1, 15, 2)",
        ),
        ("chain", {"x": X[0]}, "tensor 'x': expected shape (any, 16, 2), received (16, 2)"),
        ("chain", {"x": X[:0]}, "tensor 'x': expected shape (any, 16, 2), received (0, 16, 2)"),
        ("chain", {"x": NAN}, "input 'x': expected finite values, received 32 NaN or inf of 32"),
        ("chain", {"x": NAN * 0 + np.inf}, "received 32 NaN or inf of 32"),
        ("chain", {"y": X}, "model 'chain' inputs: expected x, received y"),
        ("chain", {}, "model 'chain' inputs: expected x, received none"),
        ("chain", {"x": np.resize(X, (257, 16, 2))}, "at most 256 windows a request, received 257"),
        (
            "chain-tail2-float32",
            {"a": A, "b": B},
            "input 'b': expected shape (2, 6, 4), received (3, 6, 4)",
        ),
        ("chain-tail2-float32", {"a": A}, "inputs: expected a, b, received a"),
        ("chain-tail1-int8", {"a": A}, "input 'a': expected int8, received float32"),
        ("chain-tail1-int4", {"a": A}, "input 'a': expected uint8, received float32"),
        ("chain-tail1-int4", {"a": A.astype("i1")}, "input 'a': expected uint8, received int8"),
        (
            "chain-tail1-int4",
            {"a": A.astype("u1")},
            "tensor 'a': expected shape (any, 16), received (2, 4, 8)",
        ),
        (
            "chain-tail1-int4",
            {"a": np.zeros((2, 15), np.uint8)},
            "tensor 'a': expected shape (any, 16), received (2, 15)",
        ),
        (
            "chain-tail1-int4",
            {"a": np.zeros((257, 16), np.uint8)},
            "at most 256 windows a request, received 257",
        ),
        (
            "fixed-tail1-int4",
            {"gain": np.array([3]), "a": np.zeros(9, np.uint8)},
            "tensor 'a': expected shape (3), received (9)",
        ),
        ("chain-tail1-float16", {"a": NAN[:, :4, :1].repeat(8, 2).astype("f2")}, "finite values"),
    ],
)
def test_unfit_tensors_are_named_with_what_was_expected(model, arrays, message, client):
    """The status is INVALID_ARGUMENT, and the text says tensor, expected and received."""
    with pytest.raises(grpc.RpcError) as error:
        client.infer(model, arrays)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in error.value.details()


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64, 128])
def test_packed_bytes_that_do_not_match_their_shape_are_refused(size, client):
    """Two windows of 32 values have 32 bytes: by the call's status, and on a stream by its own."""
    message = ModelInferRequest(model_name="chain-tail1-int4", id="7")
    message.inputs.add(name="a", datatype="UINT8", shape=[2, 16])
    message.raw_input_contents.append(bytes(size))
    expected = f"tensor 'a': expected 32 bytes, received {size}"
    with pytest.raises(grpc.RpcError) as error:
        GRPCInferenceServiceStub(client.channel).ModelInfer(message, timeout=20)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert expected in error.value.details()
    assert "\n" not in error.value.details()
    sent = {"a": np.zeros((2, 16), np.uint8)}
    frames = [message.SerializeToString(), client.request("chain-tail1-int4", sent)]
    refused, answered = client.stream_in_turn(frames)
    assert (refused.id, refused.parameters["status"]) == ("7", "INVALID_ARGUMENT")
    assert expected in refused.error
    assert client.output(answered).shape == (2, 3)


def test_foreign_clients_may_send_packed_values_as_typed_contents(bundles, client):
    """What the protocol offers for UINT8 does as well as raw bytes."""
    bundle, chain = bundles["chain"]
    (spec,) = bundle.manifest.points[1].activation
    affine = bundle.manifest.points[1].wire(Encoding.INT4).affine[spec.name]
    packed = encode(chain.head(bundle.samples.inputs, 1)[spec.name], Encoding.INT4, affine)
    message = ModelInferRequest(model_name="chain-tail1-int4")
    tensor = message.inputs.add(name=spec.name, datatype="UINT8", shape=packed.shape)
    tensor.contents.uint_contents.extend(packed.reshape(-1).tolist())
    answer = GRPCInferenceServiceStub(client.channel).ModelInfer(message, timeout=20)
    raw = client.output(client.infer("chain-tail1-int4", {spec.name: packed}))
    assert raw.tobytes() == answer.raw_output_contents[0]


@pytest.mark.parametrize("encoding", ["float32", "int8", "int4"])
def test_too_many_windows_are_refused_before_they_are_decoded(encoding, bundles):
    """Sixteen megabytes that say they are windows do not become more."""
    manifest, chain = bundles["chain"][0].manifest, bundles["chain"][1]
    (tail,) = (t for t in tails(manifest, chain) if t.name == f"chain-tail1-{encoding}")
    (spec,) = tail.inputs
    content = bytes(16 << 20)
    shape = (len(content) // spec.window_bytes, *spec.shape[1:])
    tensor = Tensor(spec.name, OIP_DATATYPES[spec.dtype], shape, content)
    tracemalloc.start()
    try:
        with pytest.raises(TensorInvalid, match="at most 256 windows a request"):
            tail.decode([tensor], 256)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_value_that_is_not_finite_is_refused_whatever_came_before_it(bad, dtype, client):
    """A message like those that were right is still looked at, wherever the value is."""
    good = np.ones((3, 16, 2), dtype)
    name = f"chain-tail0-{np.dtype(dtype).name}"
    frames = [client.request(name, {"x": good})] * 2
    for place in ((0, 0, 0), (1, 7, 1), (2, 15, 1)):
        wrong = good.copy()
        wrong[place] = bad
        frames += [client.request(name, {"x": wrong}), frames[0]]
    answers = client.stream_in_turn(frames)
    said = "received 1 NaN or inf of 96"
    assert [said in answer.error for answer in answers] == [False, False] + [True, False] * 3
