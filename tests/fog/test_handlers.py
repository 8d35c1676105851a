"""Messages that no method can read: what is answered, and that nothing of them is kept."""

import gc

import grpc
import pytest

MALFORMED = b"\xff\xff"
CALLS = 200
CONTROL, HEALTH = "/headtail.v1.Control/", "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def unary(channel: grpc.Channel, method: str) -> None:
    """Send to a method that answers once."""
    channel.unary_unary(method)(MALFORMED, timeout=20)


def streamed(channel: grpc.Channel, method: str) -> None:
    """Send to a method that answers many times."""
    list(channel.unary_stream(method)(MALFORMED, timeout=20))


def both_streamed(channel: grpc.Channel, method: str) -> None:
    """Send to a method of two streams."""
    list(channel.stream_stream(method)(iter([MALFORMED]), timeout=20))


@pytest.mark.parametrize(
    ("call", "method"),
    [
        (unary, CONTROL + "ListBundles"),
        (unary, HEALTH + "Check"),
        (unary, "/inference.GRPCInferenceService/ModelReady"),
        (streamed, CONTROL + "FetchBundle"),
        (streamed, HEALTH + "Watch"),
        (both_streamed, REFLECTION),
    ],
)
def test_malformed_message_is_an_invalid_argument_and_leaves_nothing(
    call, method, start_fog
) -> None:
    """By itself grpcio keeps some twenty objects of each call whose message it cannot parse."""

    def once() -> None:
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, method)
        assert grpc.StatusCode.INVALID_ARGUMENT is caught.value.code()

    with grpc.insecure_channel(start_fog().address) as channel:
        for _ in range(20):
            once()
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(CALLS):
            once()
        gc.collect()
        assert len(gc.get_objects()) - before < 5 * CALLS
