"""Who may use the job service: by certificate, with real handshakes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from serve_case import GIB, command, request

from headtail.allow_list import DEFAULT_ROLES, AllowList, write_allow_list
from headtail.certificates import issue, make_authority, valid_from_now
from headtail.errors import ConfigError, NotAllowed, OptimizerUnavailable
from headtail.identity import Identity, Role
from headtail.server.config import Tls
from headtail.tls import ClientTls, require_tls13
from headtail.v1 import jobs_pb2
from optimizer.serve.client import JobsClient
from optimizer.serve.config import Capacity, Config, Limits
from optimizer.serve.rights import RULES
from optimizer.serve.server import JobService

ANN, AGENT = Identity(Role.OPERATOR, "ann"), Identity(Role.EDGE, "agent-7")
Connect = Callable[[ClientTls | None], JobsClient]


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Return the folder of an authority with a certificate for the service and an allow list."""
    folder = tmp_path / "ca"
    make_authority(folder, "site", valid_from_now(1))
    issue(folder, Identity(Role.OPTIMIZER, "o-1"), ["127.0.0.1"], valid_from_now(1))
    listed = {str(who): who.role.value for who in (ANN, AGENT)}
    write_allow_list(folder / "allow.toml", AllowList(DEFAULT_ROLES, listed))
    return folder


def certificate(authority: Path, identity: Identity) -> ClientTls:
    """Return the files of a new certificate."""
    made = issue(authority, identity, (), valid_from_now(1))
    return ClientTls(authority / "ca.pem", made.cert, made.key)


def settings(authority: Path, state: Path, **tls: str) -> Config:
    """Return a configuration with mutual TLS."""
    stem = authority / "issued" / "optimizer-o-1"
    paths = {
        "ca": str(authority / "ca.pem"),
        "cert": f"{stem}.pem",
        "key": f"{stem}.key",
        "allow": str(authority / "allow.toml"),
    }
    return Config(
        state=str(state),
        listen="127.0.0.1:0",
        tls=Tls(**paths | tls),
        capacity=Capacity(cpus=1, memory_bytes=2 * GIB),
        limits=Limits(free_bytes=0),
    )


@pytest.fixture
def connect(authority: Path, tmp_path: Path) -> Iterator[Connect]:
    """Return a function that calls a running service with some certificate, or none."""
    require_tls13()
    service = JobService(settings(authority, tmp_path / "state"), command=command)
    clients: list[JobsClient] = []

    def make(tls: ClientTls | None) -> JobsClient:
        clients.append(JobsClient(service.address, tls))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    service.close()


def test_operator_submits_in_its_own_name(connect, authority) -> None:
    client = connect(certificate(authority, ANN))
    job, _ = client.submit(request())
    assert "operator/ann" == job.submitter
    assert [job.id] == [j.id for j in client.jobs()]


def test_agent_may_do_nothing_here(connect, authority) -> None:
    """Though it is on the list of the fog."""
    client = connect(certificate(authority, AGENT))
    for call in (client.jobs, lambda: client.submit(request()), lambda: next(client.watch("a"))):
        with pytest.raises(NotAllowed, match=r"edge/agent-7 may not administer or publish"):
            call()


def test_who_has_no_certificate_gets_no_connection(connect) -> None:
    with pytest.raises(OptimizerUnavailable):
        connect(None).jobs()


def test_every_method_has_its_rights() -> None:
    """And none is left over."""
    service = jobs_pb2.DESCRIPTOR.services_by_name["Jobs"]
    ours = {f"/{service.full_name}/{method.name}" for method in service.methods}
    assert ours == {name for name in RULES.rights if name.startswith("/headtail.")}


def test_tls_with_a_file_missing_is_refused(authority, tmp_path) -> None:
    with pytest.raises(ConfigError, match="--tls-allow: needed with TLS"):
        JobService(settings(authority, tmp_path / "state", allow=""), command=command)


def test_statuses_and_errors_are_inverse() -> None:
    """What the service says is what its client hears."""
    from optimizer.serve.status import STATUS_BY_ERROR, make_error

    for error, status in STATUS_BY_ERROR.items():
        assert error is type(make_error(status, "x", "h:1"))
    assert isinstance(
        make_error(grpc.StatusCode.DEADLINE_EXCEEDED, "", "h:1"), OptimizerUnavailable
    )
