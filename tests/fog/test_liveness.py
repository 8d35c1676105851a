"""Liveness and readiness: what the calls, the probes and the watchdog hear, and when."""

import json
import re
import signal
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fog_server.activity import Activity
from fog_server.liveness import SelfCall
from fog_server.server import INFERENCE_SERVICE, FogServer
from headtail.inference.grpc_service_pb2 import ServerLiveRequest, ServerLiveResponse
from headtail.liveness import Progress
from headtail.server.health import LIVENESS

STALL_S, WATCHDOG_S = 0.2, 60.0


def get(server: FogServer, path: str) -> tuple[int, str]:
    """Return status and body of a page."""
    try:
        with urllib.request.urlopen(f"http://{server.metrics_address}{path}", timeout=20) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def health_of(client, service: str) -> str:
    """Return what grpc.health.v1 says of a service."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def is_live(client) -> bool:
    """Return what ServerLive says."""
    call = client.channel.unary_unary(
        "/inference.GRPCInferenceService/ServerLive",
        request_serializer=ServerLiveRequest.SerializeToString,
        response_deserializer=ServerLiveResponse.FromString,
    )
    return call(ServerLiveRequest(), timeout=20).live


def test_idle_server_is_live_and_ready_by_every_probe(fog, client):
    assert (200, "ok\n") == get(fog, "/livez") == get(fog, "/readyz")
    assert is_live(client)
    assert ["SERVING"] * 2 == [health_of(client, name) for name in (LIVENESS, "")]
    status, page = get(fog, "/metrics")
    assert 200 == status
    assert "fog_streams" in page


@pytest.fixture
def progress(monkeypatch) -> list[Progress]:
    """Return the list that takes what watches the requests of each server that starts."""
    made: list[Progress] = []
    make = FogServer._progress

    def note(server: FogServer, stall_s: float) -> Progress:
        made.append(make(server, stall_s))
        return made[-1]

    monkeypatch.setattr(FogServer, "_progress", note)
    return made


def test_stuck_request_makes_the_server_not_live(make_config, connect, wait_until, progress):
    """Seen by the probe, the calls and the watchdog's check alike; over once it ends."""
    server = FogServer(make_config(metrics="127.0.0.1:0"), watchdog_s=WATCHDOG_S)
    client = connect(server)
    try:
        with server.admission.slot():
            assert server.check_live() is None
            assert [WATCHDOG_S] == [p._stall_s for p in progress]
            progress[0]._stall_s = STALL_S  # not before: the first calls may take longer
            wait_until(lambda: not is_live(client))
            assert "NOT_SERVING" == health_of(client, LIVENESS)
            status, text = get(server, "/livez")
            assert 503 == status
            assert re.match(r"1 requests under way and none ended for \d+ s", text)
            assert 200 == get(server, "/readyz")[0]
        assert server.check_live() is None
        assert is_live(client)
    finally:
        server.drain()


@pytest.fixture
def self_called():
    """Return a server with a pool of one, and its call to itself; it lives where nobody else is."""
    pool = ThreadPoolExecutor(1)
    server = grpc.server(pool)
    live = grpc.unary_unary_rpc_method_handler(lambda data, context: b"\x08\x01")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(INFERENCE_SERVICE, {"ServerLive": live}),)
    )
    activity = Activity(1)
    self_call = SelfCall(server, activity, timeout_s=0.2)
    server.start()
    yield pool, self_call, activity
    server.stop(None).wait()
    self_call.close()


def test_pool_that_answers_nobody_is_not_live(self_called, wait_until):
    """The call passes the pool, so that it hears what a client would."""
    pool, self_call, activity = self_called
    over = threading.Event()
    pool.submit(over.wait)
    assert "its own call ended with DEADLINE_EXCEEDED" == self_call.check()
    activity.is_draining = True
    assert self_call.check() is None
    activity.is_draining = False
    over.set()
    wait_until(lambda: self_call.check() is None)


def test_socket_of_the_self_call_is_private_and_goes_away(make_config, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server = FogServer(make_config(metrics="127.0.0.1:0"))
    (folder,) = tmp_path.iterdir()
    assert 0o700 == folder.stat().st_mode & 0o777
    server.drain()
    assert [] == list(tmp_path.iterdir())


def test_draining_server_is_not_ready_and_still_live(start_fog):
    server = start_fog(metrics="127.0.0.1:0")
    server._activity.is_draining = True
    assert (503, "draining\n") == get(server, "/readyz")
    assert (200, "ok\n") == get(server, "/livez")


def test_systemd_hears_ready_heartbeats_and_stopping(start, tmp_path, monkeypatch):
    """The program itself against a real socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        process = start()
        ready = manager.recv(4096).decode()
        beats = [manager.recv(4096).decode() for _ in range(2)]
        assert f"READY=1\nSTATUS=serving on {process.address}; 0 streams" in ready
        assert all(beat.startswith("WATCHDOG=1\nSTATUS=serving on ") for beat in beats)
        assert 0 == process.stop()
        rest = []
        manager.setblocking(False)
        while True:
            try:
                rest.append(manager.recv(4096).decode())
            except BlockingIOError:
                break
    assert "STOPPING=1\nSTATUS=stopping" in rest


def test_watchdog_leaves_every_threads_stack_in_the_log(start):
    """SIGABRT is what systemd sends when the beats stay away."""
    process = start()
    assert -signal.SIGABRT == process.stop(signal.SIGABRT)
    assert "Fatal Python error: Aborted" in process.log
    assert "fog_server/cli.py" in process.log
    assert "Thread 0x" in process.log


def test_json_log_is_an_object_a_line(start):
    process = start("--log-format", "json")
    process.stop()
    messages = [json.loads(line)["message"] for line in process.log.splitlines()]
    assert "draining: 0 streams open" in messages
