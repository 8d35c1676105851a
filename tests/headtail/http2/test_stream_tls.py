"""The same over mutual TLS, with certificates of a test authority."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from http2_peers import LIMITS, PATH, WAIT_S, GrpcServer, Service, echo, end_of, open_call

from headtail.certificates import issue, make_authority, valid_from_now
from headtail.http2.call import PROTOCOLS, Patience
from headtail.identity import Identity, Role
from headtail.server.peer import read_peer
from headtail.tls import ClientTls, client_context, read_pem, secure_channel, server_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an authority."""
    folder = tmp_path_factory.mktemp("ca")
    make_authority(folder, "test", valid_from_now(1))
    return folder


def files(authority: Path, role: Role, *hosts: str) -> ClientTls:
    """Return the files of a certificate."""
    made = issue(authority, Identity(role, "a"), hosts, valid_from_now(1))
    return ClientTls(authority / "ca.pem", made.cert, made.key)


@pytest.fixture
def server(authority: Path) -> ssl.SSLContext:
    """Return what the server shakes hands with."""
    return server_context(files(authority, Role.FOG, "127.0.0.1"), PROTOCOLS)


@pytest.fixture
def client(authority: Path) -> ssl.SSLContext:
    """Return what a client shakes hands with."""
    return client_context(files(authority, Role.EDGE), PROTOCOLS)


@pytest.fixture
def service(server: ssl.SSLContext) -> Iterator[Service]:
    """Return a service that echoes."""
    with closing(Service(echo, tls=lambda: server)) as service:
        yield service


def test_the_method_knows_who_calls(server, client):
    seen = []

    def look(_frames, context, _send):
        seen.append(context.auth_context())

    with closing(Service(look, tls=lambda: server)) as service:
        assert grpc.StatusCode.OK is end_of(open_call(service.address, client)).code
    assert Identity(Role.EDGE, "a") == read_peer(seen[0], "test").identity


def test_large_messages_go_both_ways_at_once(service, client):
    call = open_call(service.address, client)
    sent = [bytes([i]) * size for i, size in enumerate([0, 1, 16_384, 1 << 18, 3 << 20] * 6)]

    def send_all() -> None:
        for content in sent:
            call.send(content)
        call.finish()

    sender = threading.Thread(target=send_all)
    sender.start()
    assert sent == [bytes(content) for content in call.messages()]
    sender.join(WAIT_S)


def test_many_threads_send_over_tls_while_one_reads(service, client):
    call = open_call(service.address, client)
    sent = [bytes([i]) * 20_000 for i in range(80)]
    senders = [
        threading.Thread(target=lambda i=i: [call.send(c) for c in sent[i::4]]) for i in range(4)
    ]
    messages = call.messages()
    for sender in senders:
        sender.start()
    got = [bytes(next(messages)) for _ in sent]
    for sender in senders:
        sender.join(WAIT_S)
    assert sorted(sent) == sorted(got)


def test_a_server_of_grpc_takes_the_second_protocol(authority, client):
    pem = read_pem(files(authority, Role.FOG, "127.0.0.1"))
    server = GrpcServer(grpc.ssl_server_credentials([(pem.key, pem.cert)], pem.ca, True))
    try:
        call = open_call(server.address, client)
        call.send(bytes(1 << 20))
        call.finish()
        assert [bytes(1 << 20)] == [bytes(content) for content in call.messages()]
        assert "h2" == call._outgoing._transport.tls.selected_alpn_protocol()
    finally:
        server.stop()


def test_a_client_of_grpc_is_served(service, authority):
    host, port = service.address
    tls = files(authority, Role.EDGE)
    with secure_channel(f"{host}:{port}", tls, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        sent = [b"x" * size for size in (0, 10, 300_000)]
        assert sent == list(channel.stream_stream(PATH)(iter(sent)))


def test_our_protocol_is_chosen(service, client):
    call = open_call(service.address, client)
    assert PROTOCOLS[0] == call._outgoing._transport.tls.selected_alpn_protocol()


def test_a_client_of_another_authority_is_refused(service, tmp_path, authority):
    make_authority(tmp_path / "other", "other", valid_from_now(1))
    stranger = files(tmp_path / "other", Role.EDGE)
    context = client_context(
        ClientTls(authority / "ca.pem", stranger.cert, stranger.key), PROTOCOLS
    )
    call = open_call(service.address, context)
    call.send(b"x")
    end = end_of(call)
    assert grpc.StatusCode.UNAVAILABLE is end.code
    assert "unknown ca" in end.details


def test_a_server_of_another_authority_is_refused(service, tmp_path):
    make_authority(tmp_path / "other", "other", valid_from_now(1))
    with pytest.raises(ssl.SSLCertVerificationError):
        open_call(service.address, client_context(files(tmp_path / "other", Role.EDGE), PROTOCOLS))


def test_a_server_of_another_host_is_refused(authority, client):
    other = server_context(files(authority, Role.FOG, "10.0.0.5"), PROTOCOLS)
    with (
        closing(Service(echo, tls=lambda: other)) as service,
        pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"),
    ):
        open_call(service.address, client)


def test_a_client_without_certificate_is_refused(service, authority):
    context = ssl.create_default_context(cafile=authority / "ca.pem")
    end = end_of(open_call(service.address, context))
    assert grpc.StatusCode.UNAVAILABLE is end.code
    assert "certificate required" in end.details


def test_an_old_version_of_tls_is_refused(service, client):
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol version"):
        open_call(service.address, client)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\0\1", b"GET / HTTP/1.1\r\n\r\n"])
def test_no_handshake_is_hung_up_on(sent, server):
    limits = replace(LIMITS, handshake_s=0.05)
    with (
        closing(Service(echo, limits, tls=lambda: server)) as service,
        socket.create_connection(service.address, WAIT_S) as connected,
    ):
        connected.sendall(sent)
        try:
            while connected.recv(4096):
                pass
        except ConnectionError:
            pass


def test_a_server_that_does_not_shake_hands_is_given_up(client):
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(TimeoutError, match="handshake"),
    ):
        open_call(listener.getsockname(), client, Patience(0.05, WAIT_S, WAIT_S))


def test_the_status_of_a_call_that_ends_early_is_read(server, client):
    """However much is still being sent: the server reads on until the client hangs up."""
    with closing(Service(lambda *_: None, tls=lambda: server)) as service:
        call = open_call(service.address, client)
        for _ in range(50):
            call.send(bytes(100_000))
        assert grpc.StatusCode.OK is end_of(call).code


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_silent_side_is_pinged_and_lives(is_tls, server, client):
    """Both sides ping; each waits for an answer to come, however long the other is silent."""
    limits = replace(LIMITS, keepalive_s=0.02)
    release = threading.Event()

    def wait(frames, _context, send):
        for content in frames:
            send(content)

    tls = (lambda: server) if is_tls else None
    with closing(Service(wait, limits, tls)) as service:
        call = open_call(
            service.address, client if is_tls else None, Patience(WAIT_S, 0.02, WAIT_S)
        )
        messages = call.messages()
        timer = threading.Timer(0.3, lambda: (call.send(b"late"), release.set()))
        timer.start()
        assert b"late" == next(messages)
        timer.join(WAIT_S)
        call.finish()
        assert [] == list(messages)


def test_a_side_that_answers_no_ping_is_gone():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call = open_call(listener.getsockname(), patience=Patience(WAIT_S, 0.02, 0.03))
        end = end_of(call)
    assert (grpc.StatusCode.UNAVAILABLE, "no answer to a ping, silent for 0.05 s") == (
        end.code,
        end.details,
    )
