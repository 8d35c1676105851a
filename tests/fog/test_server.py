"""The running server: health, reflection, ports, pings and the drain."""

import queue
import re
import socket
import threading
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fog_server.config import Wire
from fog_server.server import FogServer
from headtail.errors import ConfigError
from headtail.oip import read_stream_response
from headtail.server.port import server_options

X = np.zeros((1, 16, 2), np.float32)
SERVICES = ["", "inference.GRPCInferenceService", "headtail.v1.Control"]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Agent:
    """A stream that stays open, one window at a time."""

    def __init__(self, client) -> None:
        """Open the stream."""
        self._client = client
        self._frames = queue.SimpleQueue()
        self.call = client.open_stream(iter(self._frames.get, None), timeout=20)

    def send(self, request_id: str) -> None:
        """Send one window."""
        self._frames.put(self._client.request("chain", {"x": X}, request_id=request_id))

    def receive(self):
        """Return the next answer."""
        return read_stream_response(next(self.call))

    def close(self) -> None:
        """Say that no more windows come."""
        self._frames.put(None)


@pytest.mark.parametrize("service", SERVICES)
def test_health_is_serving_overall_and_by_service(service, client):
    """The standard health protocol, as probes use it."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == SERVING


def test_health_of_an_unknown_service_is_not_found(client):
    """As the protocol says."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    with pytest.raises(grpc.RpcError) as error:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_and_describes_every_service(client):
    """So that grpcurl works without a .proto file."""
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICES[1]),
    ]
    listed, described = stub.ServerReflectionInfo(iter(asked))
    names = {s.name for s in listed.list_services_response.service}
    assert {*SERVICES[1:], "grpc.health.v1.Health"} < names
    file = FileDescriptorProto.FromString(
        described.file_descriptor_response.file_descriptor_proto[0]
    )
    assert {"ModelInfer", "ModelStreamInfer"} < {m.name for m in file.service[0].method}


def test_connection_that_says_nothing_is_closed(start_fog):
    """By a stranger, say, who opens as many as it can."""
    server = start_fog(wire={"handshake_s": 0.2})
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), 20) as silent:
        while silent.recv(1024):  # the server's own greeting, then the end
            pass


def test_drain_answers_what_is_in_flight_and_ends_streams_cleanly(start_fog, connect, wait_until):
    """Health turns first; a window that waits is answered; the stream's status is OK."""
    fog = start_fog(inference={"max_running": 1})
    client = connect(fog)
    agent = Agent(client)
    agent.send("1")
    assert agent.receive().id == "1"
    watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == SERVING
    with fog.admission.slot():
        agent.send("2")
        wait_until(lambda: fog.admission.queued == 1)
        drain = threading.Thread(target=fog.drain)
        drain.start()
        assert next(watch).status == NOT_SERVING
    answer = agent.receive()
    assert (answer.id, answer.error, answer.parameters["draining"]) == ("2", "", True)
    assert list(agent.call) == []
    assert agent.call.code() == grpc.StatusCode.OK
    drain.join()
    agent.close()


def test_unary_call_in_flight_is_answered_before_the_end(start_fog, connect, wait_until):
    """Whoever called before the drain gets an answer."""
    fog = start_fog(inference={"max_running": 1})
    client = connect(fog)
    answers = []
    with fog.admission.slot():
        caller = threading.Thread(target=lambda: answers.append(client.infer("chain", {"x": X})))
        caller.start()
        wait_until(lambda: fog.admission.queued == 1)
        drain = threading.Thread(target=fog.drain)
        drain.start()
    caller.join()
    drain.join()
    assert [a.id for a in answers] == ["1"]


def test_unary_call_counts_until_grpc_has_sent_the_answer(start_fog, connect, wait_until):
    """Its method's return is not the end of it."""
    fog = start_fog(inference={"max_running": 1})
    client = connect(fog)
    with fog.admission.slot():
        caller = threading.Thread(target=lambda: client.infer("chain", {"x": X}))
        caller.start()
        wait_until(lambda: fog.admission.queued == 1)
        assert 1 == len(fog._activity._unsent)
    caller.join()
    wait_until(lambda: not fog._activity._unsent)


def test_drain_is_bounded(start_fog, connect, wait_until):
    """A window that never gets its turn does not keep the server alive."""
    fog = start_fog(inference={"max_running": 1}, wire={"drain_s": 0.1, "settle_s": 0.01})
    agent = Agent(connect(fog))
    with fog.admission.slot():
        agent.send("1")
        wait_until(lambda: fog.admission.queued == 1)
        assert not fog.drain()
        with pytest.raises(grpc.RpcError) as error:
            agent.receive()
    assert error.value.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    agent.close()


def test_new_calls_are_refused_after_the_drain(start_fog, connect):
    """The port is closed."""
    fog = start_fog()
    client = connect(fog)
    client.infer("chain", {"x": X})
    assert fog.drain()
    with pytest.raises(grpc.RpcError) as error:
        client.infer("chain", {"x": X})
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("key", ["listen", "metrics"])
def test_port_in_use_is_named(key, make_config):
    """One line that says which flag and address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ConfigError, match=rf"--{key}: cannot listen on {re.escape(address)}: .*in use"
        ):
            FogServer(make_config(**{key: address}))


def test_second_server_on_the_same_port_is_refused(fog, make_config):
    """SO_REUSEPORT is off: otherwise the two would share the connections."""
    with pytest.raises(ConfigError, match="Address already in use"):
        FogServer(make_config(listen=fog.address))


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:99999", "no-such-host.invalid:1"])
def test_wrong_address_is_named(listen, make_config):
    """A malformed or unknown address is an error of one line."""
    with pytest.raises(ConfigError, match=r"^--listen: "):
        FogServer(make_config(listen=listen))


def test_metrics_page_shows_what_was_served(fog, client):
    """Windows, bytes, durations, bundles, provider."""
    client.stream([client.request("fixed", {"x": X[0, :8, 0], "gain": np.array([1])})] * 3)
    client.stream([client.request("chain", {"x": np.resize(X, (4, 16, 2))})])
    client.stream([client.request("who", {"x": X})])
    with urlopen(f"http://{fog.metrics_address}/metrics", timeout=10) as page:
        text = page.read().decode()
    assert 'fog_windows_total{model="fixed",outcome="ok"} 3.0' in text
    assert 'fog_windows_total{model="chain",outcome="ok"} 4.0' in text
    assert 'fog_windows_total{model="unknown",outcome="not_found"} 1.0' in text
    assert 'fog_request_duration_seconds_count{model="fixed",stage="compute"} 3.0' in text
    assert 'fog_request_duration_seconds_count{model="fixed",stage="queue"} 3.0' in text
    assert re.search(
        r'fog_bundle_info\{digest="[0-9a-f]{64}",name="chain",version="1.9.0"\} 1', text
    )
    assert 'fog_execution_provider_info{provider="CPUExecutionProvider"} 1.0' in text
    assert re.search(r'fog_wire_bytes_total\{direction="in"\} [1-9]', text)
    assert "fog_requests_running 0.0" in text


def test_client_may_ping_every_30_seconds():
    """The server's limit is below the agents' keep-alive, and no second server shares the port."""
    options = dict(server_options(Wire()))
    assert options["grpc.http2.min_recv_ping_interval_without_data_ms"] <= 30_000
    assert options["grpc.so_reuseport"] == 0
