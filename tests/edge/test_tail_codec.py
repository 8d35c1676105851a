"""What the tail is asked and what it answers: the short ways give what the long ones give."""

import itertools

import msgspec
import numpy as np
import pytest

from edge_agent.plan import choose_plan
from edge_agent.sources.frame import Frame
from edge_agent.tail_codec import TailCodec
from headtail.errors import DTypeMismatch, ShapeMismatch, TensorError, TensorInvalid
from headtail.oip import InferResponse, Tensor, read_request


@pytest.fixture
def codec(bundle) -> TailCodec:
    """Return what speaks to the tail of the model whose windows have one output of four values."""
    return TailCodec(choose_plan(bundle.manifest, "1", "float32"), "agent")


@pytest.fixture
def right(bundle) -> Tensor:
    """Return a right output of two windows."""
    (spec,) = bundle.manifest.outputs
    values = np.arange(2 * spec.window_values, dtype="<f4")
    return Tensor(spec.name, "FP32", (2, *spec.shape[1:]), values.tobytes())


def answer(*tensors: Tensor) -> InferResponse:
    """Return a response."""
    return InferResponse("tail", "1", "agent/0", {}, tensors)


def test_right_output_is_the_values_of_its_bytes(codec, right):
    (array,) = codec.outputs(answer(right), 2).values()
    assert (np.float32, right.shape) == (array.dtype, array.shape)
    assert np.arange(array.size).tolist() == array.ravel().tolist()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "other"}, TensorInvalid),
        ({"datatype": "FP64"}, DTypeMismatch),
        ({"shape": (1, 4)}, ShapeMismatch),
        ({"shape": ()}, ShapeMismatch),
        ({"content": b""}, TensorInvalid),
        ({"content": bytes(1000)}, TensorInvalid),
    ],
)
def test_wrong_output_is_refused_with_its_reason(codec, right, changes, error):
    with pytest.raises(error):
        codec.outputs(answer(msgspec.structs.replace(right, **changes)), 2)


def test_outputs_beside_the_known_one_change_nothing(codec, right):
    other = msgspec.structs.replace(right, name="other")
    for tensors in itertools.permutations((right, other)):
        assert codec.outputs(answer(*tensors), 2).keys() == {right.name}
    with pytest.raises(TensorError):
        codec.outputs(answer(), 2)


@pytest.mark.parametrize("make", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("order", ["<", ">"])
def test_activation_travels_row_by_row_and_little_endian(codec, bundle, make, order):
    (spec,) = bundle.manifest.points[1].activation
    array = np.random.default_rng(1).random((2, *spec.shape[1:]), np.float32)
    laid_out = make(array.astype(f"{order}f4"))
    frames = [Frame(i, i, {}) for i in (7, 8)]
    request = codec.request(frames, {spec.name: laid_out}, 1.0, 3.0)
    read = read_request(request.content + bytes(request.body))
    assert len(request.content + bytes(request.body)) == request.size
    (tensor,) = read.inputs
    assert (array.tobytes(), array.shape) == (bytes(tensor.content), tensor.shape)
    assert ("agent/7", "7,8", 2000) == (
        read.id, read.parameters["sequences"], read.parameters["deadline_ms"],
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["float32", "float16"])
@pytest.mark.parametrize("more", [None, {"traceparent": "00-1"}])
def test_messages_say_what_they_are_asked_to_whatever_the_lengths(bundle, encoding, more):
    """The short way is taken for float32 alone; messages of many lengths come in any order."""
    codec = TailCodec(choose_plan(bundle.manifest, "1", encoding), "agent")
    (spec,) = bundle.manifest.points[1].activation
    random = np.random.default_rng(2)
    for i, exponent in enumerate([*range(15), *random.permutation(15).tolist()]):
        sequence, now_s, left_s = 10**exponent + i, 10.0 ** (exponent - 6), 10.0 ** (exponent - 9)
        array = random.random((1, *spec.shape[1:]), np.float32)
        frames = [Frame(sequence, 0, {})]
        request = codec.request(frames, {spec.name: array}, now_s, now_s + left_s, more)
        read = read_request(request.content + bytes(request.body), walk_from=0)
        (tensor,) = read.inputs
        expected = array if encoding == "float32" else array.astype(np.float16)
        assert expected.tobytes() == bytes(tensor.content)
        assert {
            "agent": "agent",
            "sequences": str(sequence),
            "sent_ms": int(1e3 * now_s),
            "deadline_ms": max(1, round(1e3 * (now_s + left_s - now_s))),
            **(more or {}),
        } == dict(read.parameters)
        assert f"agent/{sequence}" == read.id == request.id
        assert read.model.startswith("chain-tail1")
