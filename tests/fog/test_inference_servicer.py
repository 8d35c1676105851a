"""ModelInfer and ModelStreamInfer as clients see them, errors above all."""

import queue
import threading

import grpc
import numpy as np
import pytest

from headtail.inference.grpc_service_pb2 import ModelInferRequest
from headtail.inference.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from headtail.oip import read_stream_response

X = np.zeros((1, 16, 2), np.float32)


@pytest.fixture
def stub(client):
    """Return the generated client, which knows nothing of our reader and writer."""
    return GRPCInferenceServiceStub(client.channel)


def typed_request(**keys):
    """Return a request whose tensor is a list of floats."""
    message = ModelInferRequest(model_name="chain", **keys)
    tensor = message.inputs.add(name="x", datatype="FP32", shape=X.shape)
    tensor.contents.fp32_contents.extend(X.ravel().tolist())
    return message


def test_generated_client_gets_the_same_answer(stub, client):
    """Typed contents in, raw contents out."""
    answer = stub.ModelInfer(typed_request(id="42"))
    assert (answer.id, answer.model_name, answer.model_version) == ("42", "chain", "1.10.0")
    expected = client.infer("chain", {"x": X}).outputs[0]
    assert bytes(expected.content) == answer.raw_output_contents[0]
    assert list(expected.shape) == answer.outputs[0].shape


def test_answer_says_how_long_it_queued_and_computed(client):
    """The parameters are nanoseconds."""
    parameters = client.infer("chain", {"x": X}).parameters
    assert parameters.keys() == {"queue_ns", "compute_ns"}
    assert all(0 < value < 10**10 for value in parameters.values())


def test_requested_output_is_answered_and_an_unknown_one_refused(stub):
    """Outputs may be named; none named means all."""
    output = ModelInferRequest.InferRequestedOutputTensor
    answer = stub.ModelInfer(typed_request(outputs=[output(name="y")]))
    assert [t.name for t in answer.outputs] == ["y"]
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelInfer(typed_request(outputs=[output(name="z")]))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error.value.details() == "model 'chain' outputs: expected y, received 'z'"


def test_version_is_chosen_and_the_newest_is_the_default(client):
    """1.10 is newer than 1.9."""
    assert client.infer("chain", {"x": X}).version == "1.10.0"
    assert client.infer("chain", {"x": X}, version="1.9.0").version == "1.9.0"


@pytest.mark.parametrize(
    ("model", "version", "message"),
    [
        ("nobody", "", "model 'nobody': not served here; served: chain"),
        ("chain", "2.0.0", "model 'chain' version '2.0.0': not served here"),
        ("chain-tail3-float32", "", "model 'chain-tail3-float32': not served here"),
    ],
)
def test_unknown_model_is_not_found(model, version, message, client):
    """The last point is all on the edge: the fog does not serve it."""
    with pytest.raises(grpc.RpcError) as error:
        client.infer(model, {"x": X}, version=version)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert message in error.value.details()


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x05ab", b"", b"\x3a\x01a"])
def test_malformed_bytes_are_refused(data, client):
    """Noise ends in a status, not in a broken connection."""
    call = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as error:
        call(data, timeout=10)
    expected = grpc.StatusCode.INVALID_ARGUMENT if data else grpc.StatusCode.NOT_FOUND
    assert error.value.code() == expected
    assert client.infer("chain", {"x": X}).outputs


def test_error_on_the_stream_belongs_to_its_window(client):
    """Bad windows are answered with their status, and the good ones around them with outputs."""
    good = client.request("chain", {"x": X}, request_id="1")
    frames = [
        good,
        client.request("chain", {"x": X[0]}, request_id="2"),
        b"\xff\xff",
        client.request("nobody", {"x": X}, request_id="3"),
        client.request("chain", {"x": X}, request_id="4", deadline_ms=0),
        client.request("chain", {"x": X}, request_id="5", deadline_ms="soon"),
        client.request("chain", {"x": X}, request_id="6"),
    ]
    answers = sorted(client.stream(frames), key=lambda answer: answer.id)
    assert ["", "1", "2", "3", "4", "5", "6"] == [a.id for a in answers]
    assert [
        "INVALID_ARGUMENT",
        None,
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "DEADLINE_EXCEEDED",
        "INVALID_ARGUMENT",
        None,
    ] == [a.parameters.get("status") for a in answers]
    assert [False, True, False, False, False, False, True] == [bool(a.outputs) for a in answers]
    assert [True, False, True, True, True, True, False] == [bool(a.error) for a in answers]


def test_agents_share_the_server(fog, connect, whole):
    """Many streams at once: every answer is the right one for its window."""
    rng = np.random.default_rng(5)
    inputs = [rng.standard_normal((1, 16, 2)).astype(np.float32) for _ in range(8)]
    expected = [whole("chain", {"x": x}) for x in inputs]
    failures = []

    def agent(number):
        client = connect(fog)
        order = [(number + i) % 8 for i in range(50)]
        frames = [client.request("chain", {"x": inputs[i]}, request_id=str(i)) for i in order]
        answers = client.stream(frames)
        if sorted(map(str, order)) != sorted(answer.id for answer in answers):
            failures.append((number, "ids"))
        for answer in answers:
            expected_output = expected[int(answer.id)]
            if not np.allclose(expected_output, client.output(answer), rtol=0, atol=1e-6):
                failures.append((number, answer.id))

    threads = [threading.Thread(target=agent, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_overload_is_refused_with_a_delay(start_fog, connect):
    """With no slot and no queue left, the refusal says when to come back."""
    fog = start_fog(inference={"max_running": 1, "max_queued": 0})
    client = connect(fog)
    with fog.admission.slot():
        with pytest.raises(grpc.RpcError) as error:
            client.infer("chain", {"x": X})
        (answer,) = client.stream([client.request("chain", {"x": X})])
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(error.value.trailing_metadata())["retry_delay_ms"]) >= 10
    assert answer.parameters["status"] == "RESOURCE_EXHAUSTED"
    assert answer.parameters["retry_delay_ms"] >= 10
    assert client.infer("chain", {"x": X}).outputs


def test_work_that_expires_while_it_waits_is_not_run(start_fog, connect):
    """Both deadlines count: the request's parameter and the call's own."""
    fog = start_fog(inference={"max_running": 1})
    client = connect(fog)
    with fog.admission.slot():
        with pytest.raises(grpc.RpcError) as by_parameter:
            client.infer("chain", {"x": X}, deadline_ms=30)
        with pytest.raises(grpc.RpcError) as by_call:
            client.infer("chain", {"x": X}, timeout_s=0.05)
        (answer,) = client.stream([client.request("chain", {"x": X}, deadline_ms=30)])
    assert by_parameter.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert by_call.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert answer.parameters["status"] == "DEADLINE_EXCEEDED"
    value = fog.metrics.registry.get_sample_value
    expired = value("fog_windows_total", {"model": "chain", "outcome": "expired"})
    assert expired in (2.0, 3.0)  # the call's own deadline may end it before the server counts
    assert value("fog_request_duration_seconds_count", {"model": "chain", "stage": "compute"}) in (
        None,
        0.0,
    )


def test_streams_over_the_limit_are_refused(start_fog, connect):
    """A refused agent is told at once; another's leaving makes room."""
    fog = start_fog(wire={"max_agents": 1})
    client = connect(fog)
    frames = queue.SimpleQueue()
    first = client.open_stream(iter(frames.get, None), timeout=20)
    frames.put(client.request("chain", {"x": X}))
    assert read_stream_response(next(first)).error == ""
    with pytest.raises(grpc.RpcError) as error:
        client.stream([client.request("chain", {"x": X})])
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.value.details().startswith("fog: overloaded: 1 streams are open")
    frames.put(None)
    assert list(first) == []
    assert client.infer("chain", {"x": X}).outputs


def test_agent_that_hangs_up_leaves_no_stream_behind(start_fog, connect, wait_until):
    """A cancelled call frees its place."""
    fog = start_fog()
    client = connect(fog)
    frames = queue.SimpleQueue()
    call = client.open_stream(iter(frames.get, None))
    frames.put(client.request("chain", {"x": X}))
    next(call)
    streams = fog.metrics.registry.get_sample_value
    assert streams("fog_streams") == 1.0
    call.cancel()
    frames.put(None)
    wait_until(lambda: streams("fog_streams") == 0.0)


def test_message_over_the_limit_is_refused(start_fog, connect):
    """The limit is gRPC's; the connection lives on."""
    fog = start_fog(wire={"max_message_bytes": 4096})
    client = connect(fog)
    with pytest.raises(grpc.RpcError) as error:
        client.infer("chain", {"x": np.zeros((100, 16, 2), np.float32)})
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.infer("chain", {"x": X}).outputs
