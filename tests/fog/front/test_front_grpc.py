"""gRPC behind a front is what it is without one, and knows who its peers are."""

import threading

import grpc
import pytest
from cryptography import x509

from headtail.certificates import issue, make_authority, valid_from_now
from headtail.identity import Identity, Role
from headtail.server.credentials import server_credentials
from headtail.server.peer import peer_host
from headtail.tls import TlsFiles

TIMEOUT_S = 20.0
MEGABYTE = 1 << 20


def call(channel: grpc.Channel, method: str, data: bytes = b"") -> bytes:
    """Make one unary call."""
    return channel.unary_unary(f"/test/{method}")(data, timeout=TIMEOUT_S)


@pytest.mark.parametrize("size", [0, 1, 16 << 10, 3 * MEGABYTE + 1])
def test_unary_call_is_answered(start_grpc, start_front, open_channel, size):
    front = start_front(start_grpc().port)
    data = bytes(range(256)) * (size // 256 + 1)
    assert data[:size] == call(open_channel(front.address), "Echo", data[:size])
    assert 1 == front.counts.relayed


def test_stream_carries_64_megabytes_each_way(start_grpc, start_front, open_channel):
    front = start_front(start_grpc().port)
    frames = [bytes([number]) * MEGABYTE for number in range(64)]
    answers = open_channel(front.address).stream_stream("/test/Stream")(
        iter(frames), timeout=3 * TIMEOUT_S
    )
    assert frames == list(answers)


def test_streams_run_side_by_side(start_grpc, start_front, open_channel):
    front = start_front(start_grpc().port)
    frames = [str(number).encode() * 1000 for number in range(200)]
    failed: list[int] = []

    def stream(number: int) -> None:
        answers = open_channel(front.address).stream_stream("/test/Stream")
        if list(answers(iter(frames), timeout=TIMEOUT_S)) != frames:
            failed.append(number)

    threads = [threading.Thread(target=stream, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([], 8) == (failed, front.counts.relayed)


@pytest.mark.parametrize(
    ("listen", "to", "host"),
    [
        ("127.0.0.1:0", "127.0.0.1", "127.0.0.1"),
        ("[::1]:0", "[::1]", "%5B::1%5D"),
        ("0.0.0.0:0", "127.0.0.1", "127.0.0.1"),
        ("0.0.0.0:0", "[::1]", "%5B::1%5D"),
        ("[::]:0", "127.0.0.1", "127.0.0.1"),
        ("[::]:0", "[::1]", "%5B::1%5D"),
        ("localhost:0", "localhost", "127.0.0.1"),
    ],
)
def test_origin_is_the_peer_that_grpc_alone_would_see(
    start_grpc, start_front, open_channel, listen, to, host
):
    server = start_grpc()
    front = start_front(server.port, listen=listen)
    channel = open_channel(f"{to}:{front.address.rpartition(':')[2]}")
    origin = call(channel, "Who").decode()
    assert host == peer_host(origin)
    (seen,) = server.peers
    assert seen.startswith("ipv4:127.0.0.1:")
    assert origin != seen
    assert front.address.startswith(listen.rpartition(":")[0])


def test_direct_call_is_its_own_origin(start_grpc, open_channel):
    server = start_grpc()
    origin = call(open_channel(f"127.0.0.1:{server.port}"), "Who").decode()
    assert [origin] == server.peers


def test_drain_of_grpc_goes_through_the_front(start_grpc, start_front, open_channel):
    """A call that is open when the server stops is answered; a new one finds nobody."""
    server = start_grpc()
    front = start_front(server.port)
    go_on = threading.Event()

    def frames():
        yield b"first"
        go_on.wait(TIMEOUT_S)
        yield b"last"

    channel = open_channel(front.address)
    answers = channel.stream_stream("/test/Stream")(frames(), timeout=TIMEOUT_S)
    assert b"first" == next(answers)
    front.stop_listening()
    stopped = server.server.stop(TIMEOUT_S)
    go_on.set()
    assert [b"last"] == list(answers)
    assert stopped.wait(TIMEOUT_S)
    with pytest.raises(grpc.RpcError) as caught:
        call(open_channel(front.address), "Echo")
    assert grpc.StatusCode.UNAVAILABLE is caught.value.code()


def test_calls_break_off_where_the_front_closes(start_grpc, start_front, open_channel):
    front = start_front(start_grpc().port)
    over = threading.Event()

    def frames():
        yield b"first"
        over.wait(TIMEOUT_S)

    answers = open_channel(front.address).stream_stream("/test/Stream")(frames())
    assert b"first" == next(answers)
    front.close()
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    over.set()
    assert grpc.StatusCode.UNAVAILABLE is caught.value.code()


def test_tls_is_between_the_client_and_grpc(start_grpc, start_front, open_channel, tmp_path):
    make_authority(tmp_path, "site", valid_from_now(1))
    fog = issue(tmp_path, Identity(Role.FOG, "fog-1"), ["127.0.0.1"], valid_from_now(1))
    edge = issue(tmp_path, Identity(Role.EDGE, "agent-7"), (), valid_from_now(1))
    ca = tmp_path / "ca.pem"
    server = start_grpc(server_credentials(TlsFiles(ca, fog.cert, fog.key)))
    front = start_front(server.port, is_tls=True)
    credentials = grpc.ssl_channel_credentials(
        ca.read_bytes(), edge.key.read_bytes(), edge.cert.read_bytes()
    )
    data = bytes(range(256)) * 4096
    assert x509.load_pem_x509_certificate(ca.read_bytes())
    channel = open_channel(front.address, credentials)
    assert data == call(channel, "Echo", data)
    assert "127.0.0.1" == peer_host(call(channel, "Who").decode())
    with pytest.raises(grpc.RpcError) as caught:
        call(open_channel(front.address), "Echo")
    assert grpc.StatusCode.UNAVAILABLE is caught.value.code()
