"""Statuses and errors, and what a fog must be before it is streamed to."""

import threading

import grpc
import pytest

from edge_agent.fog_check import Tail
from edge_agent.fog_client import FogClient
from edge_agent.fog_errors import ERROR_BY_STATUS, make_error, retry_delay_s
from edge_agent.plan import choose_plan
from fog_server.status import STATUS_BY_ERROR
from headtail.errors import FogUnavailable, ModelNotFound, RemoteFailed, RequestInvalid
from proxy import Proxy


@pytest.fixture
def tail(bundle) -> Tail:
    """Return the tail of the test bundle's default."""
    plan = choose_plan(bundle.manifest, "auto", "auto")
    return Tail(plan.tail_name, "1.0.0", plan.wire_specs, "chain", bundle.digest)


def test_the_two_tables_are_inverse():
    assert dict(STATUS_BY_ERROR) == {error: status for status, error in ERROR_BY_STATUS.items()}


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_every_status_becomes_one_line(status):
    error = make_error(status, "because", "h:1", ("m", "1"))
    assert isinstance(error, ERROR_BY_STATUS.get(status, Exception))
    assert "\n" not in str(error)


def test_fog_with_the_tail_is_connected_to(start_fog, tail):
    stream = FogClient(start_fog().address, tail, 20.0).connect()
    stream.close()
    with pytest.raises(FogUnavailable):
        list(stream.replies())


def test_absent_fog_is_unavailable(unused_address, tail):
    with pytest.raises(FogUnavailable, match=unused_address):
        FogClient(unused_address, tail, 20.0).connect()


def test_unknown_version_is_not_found(start_fog, tail):
    other = Tail(tail.name, "9.9", tail.inputs, tail.bundle, tail.digest)
    with pytest.raises(ModelNotFound, match=r"'chain-tail1-float32' version '9\.9'"):
        FogClient(start_fog().address, other, 20.0).connect()


def test_other_bundle_of_the_same_version_is_refused(start_fog, tail):
    """Name and version agree; the digests tell."""
    other = Tail(tail.name, tail.version, tail.inputs, tail.bundle, "0" * 64)
    with pytest.raises(RequestInvalid, match=f"is bundle {tail.digest[:12]}, this agent's is 0000"):
        FogClient(start_fog().address, other, 20.0).connect()


def test_other_tensors_under_the_same_name_are_refused(start_fog, tail, bundle):
    int8 = choose_plan(bundle.manifest, "1", "int8").wire_specs
    other = Tail(tail.name, tail.version, int8, tail.bundle, tail.digest)
    with pytest.raises(RequestInvalid, match=r"takes \{'a': 'FP32'\} there, \{'a': 'INT8'\} here"):
        FogClient(start_fog().address, other, 20.0).connect()


def test_fog_without_a_control_service_will_do(scripted_fog, tail):
    """As Triton is."""
    FogClient(scripted_fog.address, tail, 20.0).connect().close()


def test_tail_that_is_not_ready_is_waited_for(scripted_fog, tail):
    scripted_fog.is_ready = False
    with pytest.raises(FogUnavailable, match="'chain-tail1-float32' is not ready"):
        FogClient(scripted_fog.address, tail, 20.0).connect()


def test_unknown_failure_is_the_fogs():
    assert isinstance(make_error(grpc.StatusCode.DATA_LOSS, "", "h:1"), RemoteFailed)


def test_fog_that_wants_fewer_pings_gets_fewer(tail, caplog):
    """What gRPC says when a server hangs up on a client that pings too often."""
    client = FogClient("h:1", tail, 1.0)
    for text in ("Too many pings", "ended the stream", "GOAWAY received; too_many_pings"):
        client.learn(FogUnavailable("h:1", text))
    assert 120.0 == client.keepalive_s
    assert 2 == caplog.text.count("permits fewer pings")


def test_connection_that_went_dead_is_noticed_without_a_window(start_fog, tail):
    """Nothing comes back, not even an end; the keepalive's answer is missed."""
    with Proxy(start_fog(keepalive_s=1).address) as proxy:
        stream = FogClient(proxy.address, tail, 20.0, keepalive_s=1.0).connect()
        proxy.black_hole()
        with pytest.raises(FogUnavailable, match=r"(?i)keepalive|ping"):
            list(stream.replies())
        stream.close()


def test_pings_at_the_pace_that_the_fog_permits_keep_the_stream(start_fog, tail):
    """An idle stream outlives several of them: the next window is answered by the same one."""
    with Proxy(start_fog(keepalive_s=1).address) as proxy:
        stream = FogClient(proxy.address, tail, 20.0, keepalive_s=1.0).connect()
        sent = proxy.counts["up_bytes"]
        give_up = threading.Timer(3.5, stream.finish)
        give_up.start()
        with pytest.raises(FogUnavailable, match="ended the stream"):
            list(stream.replies())
        assert proxy.counts["up_bytes"] > sent
        stream.close()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("250", 0.25), (120, 0.12), ("x", 0.0), (-5, 0.0), (b"10", 0.01), ("9" * 400, 3600.0)],
)
def test_retry_delay_is_bounded_and_never_believed_blindly(said, seconds):
    assert seconds == retry_delay_s(said)
