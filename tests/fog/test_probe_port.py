"""The port for probes: health in plaintext, and nothing else, beside a port that asks for TLS."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fog_server.server import FogServer
from headtail.allow_list import DEFAULT_ROLES, AllowList, write_allow_list
from headtail.certificates import issue, make_authority, valid_from_now
from headtail.errors import ConfigError
from headtail.identity import Identity, Role
from headtail.server.config import Tls
from headtail.server.health import LIVENESS

TIMEOUT_S = 10.0


def ask(address: str, service: str) -> str:
    """Return what a kubelet would hear."""
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_S)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def refusal(address: str, method: str) -> grpc.StatusCode:
    """Return the status that a call in plaintext ends with."""
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method)(b"", timeout=TIMEOUT_S)
    return caught.value.code()


@pytest.fixture
def tls(tmp_path) -> Tls:
    """Return the files of a fog that asks for certificates."""
    make_authority(tmp_path, "site", valid_from_now(1))
    made = issue(tmp_path, Identity(Role.FOG, "fog-1"), ["127.0.0.1"], valid_from_now(1))
    write_allow_list(tmp_path / "allow.toml", AllowList(DEFAULT_ROLES))
    return Tls(
        str(tmp_path / "ca.pem"), str(made.cert), str(made.key), str(tmp_path / "allow.toml")
    )


def test_probes_are_answered_in_plaintext_where_calls_need_tls(start_fog, tls):
    server = start_fog(health="127.0.0.1:0", tls=tls)
    assert ["SERVING"] * 2 == [ask(server.health_address, name) for name in ("", LIVENESS)]
    assert grpc.StatusCode.UNAVAILABLE == refusal(server.address, "/grpc.health.v1.Health/Check")


@pytest.mark.parametrize(
    "method",
    [
        "/inference.GRPCInferenceService/ServerReady",
        "/inference.GRPCInferenceService/ModelInfer",
        "/headtail.v1.Control/ListBundles",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_port_answers_nothing_else(start_fog, method):
    server = start_fog(health="127.0.0.1:0")
    assert grpc.StatusCode.UNIMPLEMENTED == refusal(server.health_address, method)


def test_draining_server_says_so_on_both(start_fog):
    server = start_fog(health="127.0.0.1:0")
    server._health.enter_graceful_shutdown()
    assert ["NOT_SERVING"] * 2 == [ask(a, "") for a in (server.health_address, server.address)]
    assert "SERVING" == ask(server.health_address, LIVENESS)


def test_address_that_is_taken_is_an_error_of_its_flag(start_fog, make_config):
    server = start_fog(health="127.0.0.1:0")
    with pytest.raises(ConfigError, match="--health: cannot listen on"):
        FogServer(make_config(health=server.health_address))
