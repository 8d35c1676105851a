"""TLS files and channels, with real handshakes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from headtail.certificates import issue, make_authority, valid_from_now
from headtail.errors import ConfigError
from headtail.identity import Identity, Role
from headtail.tls import (
    ClientTls,
    check_plaintext,
    choose_files,
    is_loopback,
    read_pem,
    secure_channel,
)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Return the folder of a new authority."""
    make_authority(tmp_path / "ca", "test", valid_from_now(1))
    return tmp_path / "ca"


def files(authority: Path, role: Role, *hosts: str) -> ClientTls:
    """Return the files of a new certificate."""
    made = issue(authority, Identity(role, "a"), hosts, valid_from_now(1))
    return ClientTls(authority / "ca.pem", made.cert, made.key)


def call(channel: grpc.Channel) -> bytes:
    """Ask the echo server."""
    with channel:
        return channel.unary_unary("/echo/Echo")(b"x", timeout=5)


@pytest.fixture
def echo(authority: Path):
    """Return a function that starts an echo server with a certificate; it returns the address."""
    servers = []

    def start(tls: ClientTls) -> str:
        pem = read_pem(tls)
        server = grpc.server(ThreadPoolExecutor(2))
        handlers = {"Echo": grpc.unary_unary_rpc_method_handler(lambda data, _: data)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo", handlers),))
        credentials = grpc.ssl_server_credentials([(pem.key, pem.cert)], pem.ca, True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


def test_both_sides_know_each_other(authority, echo) -> None:
    address = echo(files(authority, Role.FOG, "127.0.0.1"))
    assert b"x" == call(secure_channel(address, files(authority, Role.EDGE), []))


@pytest.mark.parametrize(
    ("role", "host"), [(Role.FOG, "10.0.0.5"), (Role.EDGE, ""), (Role.OPERATOR, "")]
)
def test_a_certificate_of_another_host_or_role_cannot_play_the_fog(
    role, host, authority, echo
) -> None:
    address = echo(files(authority, role, *[host] * bool(host)))
    with pytest.raises(grpc.RpcError) as error:
        call(secure_channel(address, files(authority, Role.EDGE), []))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_the_three_files_come_together() -> None:
    assert choose_files("", "", "") is None
    assert ClientTls(Path("a"), Path("b"), Path("c")) == choose_files("a", "b", "c")
    with pytest.raises(ConfigError, match=r"--tls-key: .*needed together"):
        choose_files("a", "b", "")


@pytest.mark.parametrize("broken", ["ca", "cert", "key"])
@pytest.mark.parametrize("content", [None, b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_file_that_is_none_is_named(broken, content, authority) -> None:
    tls = files(authority, Role.EDGE)
    path = getattr(tls, broken)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=path.name):
        secure_channel("127.0.0.1:1", tls, [])


def test_the_key_of_another_certificate_is_refused(authority) -> None:
    tls = files(authority, Role.EDGE)
    other = files(authority, Role.OPERATOR)
    with pytest.raises(ConfigError, match="is not the private key of"):
        secure_channel("127.0.0.1:1", ClientTls(tls.ca, tls.cert, other.key), [])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.5", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_told_without_a_name_server(host, expected) -> None:
    assert expected is is_loopback(host)


def test_plaintext_stays_on_this_machine_unless_allowed() -> None:
    check_plaintext("127.0.0.1:1", is_allowed=False, where="--fog")
    check_plaintext("10.0.0.5:1", is_allowed=True, where="--fog")
    with pytest.raises(ConfigError, match=r"--fog: 10\.0\.0\.5:1 is not this machine.*--insecure"):
        check_plaintext("10.0.0.5:1", is_allowed=False, where="--fog")


def test_a_private_key_has_no_text(authority) -> None:
    assert "Pem(…)" == repr(read_pem(files(authority, Role.EDGE)))
